"""A run: its recipe, its stages, and what is written of it."""

from capjax.training.loop import Interrupted
from capjax.training.run import train

__all__ = ["Interrupted", "train"]
