"""A listener: it learns to pick the image that a caption is of out of others.

python -m capjax.train --config=configs/listener.py:flickr8k --config.init_from=runs/mle-flickr8k
python -m capjax.evaluate --workdir=RUN --retrieval=1000 --listener=runs/listener-flickr8k

Its report shows captions of the speaker that it started from: the best of ten draws by it. One
that judges a captioner must not be the one that the captioner was trained by; two that have seen
no image in common are had with --config.listener.half=1 and 2, each with a --workdir of its own.
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
    config.recipe = "listener"
    config.stages = ("mle", "listener") if drawn else ("listener",)
    config.judge = "listener"
    config.evaluator_dim = 192 if drawn else 512
    config.evaluator_dropout = 0.0 if drawn else 0.5  # of the image's vector

    config.listener = ConfigDict()
    config.listener.epochs = 4.0 if drawn else 30.0  # of images, a caption each
    config.listener.batch = 128  # images, which are one another's distractors
    config.listener.distractors = 0  # more of each, drawn from so many nearest images:
    config.listener.mined = 50
    config.listener.half = 0  # 1 or 2: of every other image only
    config.listener.learning_rate = 1e-3
    config.listener.warmup = 50
    config.listener.schedule = "cosine"
    config.listener.clip = 5.0
    config.listener.weight_decay = 0.01
    config.listener.decoding = ConfigDict(
        {
            "method": "best_of",
            "candidates": 10,
            "max_len": config.data.max_len,
            "forbid_unknown": config.decoding.forbid_unknown,
        }
    )
    if drawn:
        config.mle.decoding = ConfigDict(config.decoding.to_dict())
    else:
        del config.mle
    config.decoding = config.listener.decoding
    return config
