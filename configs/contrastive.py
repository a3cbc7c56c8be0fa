"""Contrastive learning (Dai & Lin, 2017) of a captioner against what it was at the start.

python -m capjax.train --config=configs/contrastive.py:flickr8k --config.init_from=runs/mle-flickr8k
python -m capjax.train --config=configs/contrastive.py          # scenes, maximum likelihood first
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

accelerator = runpy.run_path(str(Path(__file__).with_name("accelerator.py")))["accelerator"]


@accelerator
def get_config(dataset: str = "scenes") -> ConfigDict:
    mle = runpy.run_path(str(Path(__file__).with_name("mle.py")))["get_config"]
    config = mle(dataset)
    drawn = dataset.startswith("scenes")
    config.recipe = "contrastive"
    config.stages = ("mle", "contrastive") if drawn else ("contrastive",)
    if not drawn:
        del config.mle

    config.contrastive = ConfigDict()
    config.contrastive.epochs = 1.0
    config.contrastive.batch = 64  # people's captions
    config.contrastive.accumulate = 1  # parts of a batch, where it does not fit whole
    config.contrastive.negatives = 5  # captions of other images beside each, drawn at every step
    config.contrastive.mined = 0  # draw them from so many nearest images; 0: from all
    config.contrastive.nu = 1.0
    # Ablations: "positive_only", "negative_only"; and "introspective", without a reference.
    config.contrastive.pairs = "both"
    config.contrastive.reference = ""  # another run's folder; default: what it starts from
    config.contrastive.rounds = 1  # after each, the reference becomes what the target then is
    config.contrastive.masks = "shared"  # of dropout, with the reference; or "target", "none"
    config.contrastive.likelihood = 0.0  # weight of maximum likelihood beside it, nats a caption
    config.contrastive.label_smoothing = 0.0 if drawn else 0.1  # of that
    config.contrastive.learning_rate = 1e-4
    config.contrastive.warmup = 50
    config.contrastive.schedule = "cosine"
    config.contrastive.clip = 5.0
    config.contrastive.weight_decay = 0.0
    config.contrastive.average = 0.99
    return config
