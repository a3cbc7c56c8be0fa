"""Eyes for scenes, which learn from what is drawn, and a captioner on them.

python -m capjax.train --config=configs/eyes.py

The encoder eyes64 is what this gave, seed 0, after its first stage (docs/results.md):

from pathlib import Path
from capjax.models.eyes import TRAINED, write_eyes
from capjax.run.trained import open_run
see = open_run("runs/eyes-scenes", "eyes").params["params"]["see"]
write_eyes({"params": see}, TRAINED)
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config(dataset: str = "scenes") -> ConfigDict:
    mle = runpy.run_path(str(Path(__file__).with_name("mle.py")))["get_config"]
    config = mle(dataset)
    config.recipe = "eyes"
    config.data.encoder = "pixels64"
    config.cell, config.sight = "nic", "eyes"
    config.stages = ("eyes", "mle")
    config.eyes = ConfigDict()
    config.eyes.epochs = 15.0  # of images
    config.eyes.batch = 64
    config.eyes.learning_rate = 4e-3
    config.eyes.warmup = 100
    config.eyes.schedule = "cosine"
    config.eyes.clip = 1.0
    config.eyes.weight_decay = 1e-4
    config.eyes.average = 0.99
    return config
