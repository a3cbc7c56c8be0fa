"""Self-critical training (Rennie et al., 2017): the reward of drawn captions, from any captioner.

python -m capjax.train --config=configs/self_critical.py:flickr8k --config.init_from=RUN
python -m capjax.train --config=configs/self_critical.py:flickr8k/retrieval --config.init_from=RUN
python -m capjax.train --config=configs/self_critical.py    # scenes, maximum likelihood first

After the dataset's name: `cider` rewards CIDEr-D, `retrieval` also how well a listener, which is
trained first, finds the image by the caption (Liu et al., 2018).
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

accelerator = runpy.run_path(str(Path(__file__).with_name("accelerator.py")))["accelerator"]
PRESETS = ("cider", "retrieval")


@accelerator
def get_config(arg: str = "scenes") -> ConfigDict:
    dataset, _, preset = arg.partition("/")
    preset = preset or "cider"
    if preset not in PRESETS:
        raise ValueError(f"the preset {preset!r} is not one of {', '.join(PRESETS)}")
    mle, listener = (
        runpy.run_path(str(Path(__file__).with_name(name)))["get_config"]
        for name in ("mle.py", "listener.py")
    )
    config = listener(dataset)
    drawn, retrieval = dataset.startswith("scenes"), preset == "retrieval"
    config.recipe = "self_critical" if preset == "cider" else "self_critical-retrieval"
    config.stages = (
        *(("mle",) if drawn else ()),
        *(("listener",) if retrieval else ()),
        "self_critical",
    )
    if not retrieval:
        del config.listener
    config.judge = "listener" if retrieval else ""  # or "evaluator", of the run of init_from
    config.decoding = mle(dataset).decoding
    config.self_critical = ConfigDict()
    config.self_critical.epochs = 2.0 if drawn else 16.0  # of images
    config.self_critical.batch = 64  # images
    config.self_critical.accumulate = 1  # parts of a batch, where it does not fit whole
    config.self_critical.samples = 5  # captions of an image
    config.self_critical.baseline = "leave_one_out"  # or "greedy", as in the paper
    config.self_critical.rewards = ConfigDict()  # weights
    config.self_critical.rewards.cider = 1.0  # 0 to 10
    config.self_critical.rewards.evaluator = 0.0  # r, 0 to 1
    config.self_critical.rewards.listener = 0.0  # nats, of picking the image
    config.self_critical.rewards.self_retrieval = 0.05 if retrieval else 0.0  # a hinge
    config.self_critical.margin = 1.0  # of that hinge, in units of the listener's scores
    config.self_critical.distractors = 10 if retrieval else 0  # beside the batch's images
    config.self_critical.mined = 50  # drawn from so many nearest images
    config.self_critical.count_end = True  # as a word of CIDEr-D, so that captions end well
    config.self_critical.likelihood = 0.0  # maximum likelihood beside it
    config.self_critical.dropout = False
    config.self_critical.average = 0.99
    config.self_critical.learning_rate = 2e-4 if drawn else 5e-4
    config.self_critical.warmup = 20
    config.self_critical.schedule = "cosine"
    config.self_critical.clip = 5.0
    config.self_critical.weight_decay = 0.0
    return config
