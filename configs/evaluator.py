"""E-NGAN (Dai et al., 2017): an evaluator trained against a speaker that stays as it is.

python -m capjax.train --config=configs/evaluator.py:flickr8k --config.init_from=runs/mle-flickr8k
python -m capjax.evaluate --workdir=RUN --evaluator=runs/evaluator-flickr8k
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

accelerator = runpy.run_path(str(Path(__file__).with_name("accelerator.py")))["accelerator"]


@accelerator
def get_config(dataset: str = "scenes") -> ConfigDict:
    gan = runpy.run_path(str(Path(__file__).with_name("gan.py")))["get_config"]
    config = gan(dataset)
    config.recipe = "evaluator"
    config.seed = 1  # not that of an evaluator which a speaker is trained against
    config.stages = ("evaluator",)
    config.noise = 0  # as of the speaker that it starts from
    config.decoding = config.evaluator.decoding
    del config.mle, config.adversarial
    return config
