"""python -m capjax.train --config=configs/toy.py"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict


def get_config(dataset: str = "scenes") -> ConfigDict:
    config = runpy.run_path(str(Path(__file__).with_name("mle.py")))["get_config"](dataset)
    config.recipe = "toy"
    config.stages = ("toy",)
    config.toy = ConfigDict()
    config.toy.epochs = 4.0
    config.toy.batch = 64
    config.toy.learning_rate = 1e-3
    config.toy.warmup = 200
    config.toy.schedule = "cosine"
    config.toy.clip = 1.0
    config.toy.weight_decay = 0.0
    config.toy.penalty = 0.1
    return config
