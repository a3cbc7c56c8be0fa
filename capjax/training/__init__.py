"""A run: its recipe, its stages, and what is written of it."""

from capjax.training.run import train
from capjax.training.stopping import Interrupted

__all__ = ["Interrupted", "train"]
