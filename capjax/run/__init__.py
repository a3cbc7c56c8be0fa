"""A run's folder: its recipe, its data, its checkpoints, and the trained speaker out of it."""

from capjax.run.recipe import Recipe
from capjax.run.trained import Trained, check_classes, fingerprint, open_run

__all__ = ["Recipe", "Trained", "check_classes", "fingerprint", "open_run"]
