"""A captioner that is told the class of the image, to say why it is of no other (Vedantam et al.).

python -m capjax.train --config=configs/justification.py                                   # scenes
python -m capjax.train --config=configs/justification.py:cub --config.data.path=DIR
python -m capjax.train --config=configs/justification.py --config.data.encoder=none --workdir=BLIND
python -m capjax.evaluate --workdir=RUN --justify [--blind=BLIND] [--rationality=0.5]
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

accelerator = runpy.run_path(str(Path(__file__).with_name("accelerator.py")))["accelerator"]


@accelerator
def get_config(dataset: str = "scenes") -> ConfigDict:
    mle = runpy.run_path(str(Path(__file__).with_name("mle.py")))["get_config"]
    config = mle(dataset)
    config.recipe = "justification"
    config.cell = "nic"  # which takes in an encoder that sees nothing, too
    if dataset.startswith("scenes"):
        config.data.encoder = "eyes64"
    config.concepts = True  # the speaker is told the class of each image
    return config
