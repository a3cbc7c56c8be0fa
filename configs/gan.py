"""G-GAN (Dai et al., 2017): maximum likelihood, an evaluator, then each against the other.

python -m capjax.train --config=configs/gan.py                            # scenes
python -m capjax.train --config=configs/gan.py:flickr8k --config.data.path=DIR
python -m capjax.train --config=configs/gan.py:coco/paper                 # or coco/release

After the dataset's name, `paper` takes the settings of the paper as far as they are known, and
`release` those of its authors' code; both cost far more time than ours.
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

accelerator = runpy.run_path(str(Path(__file__).with_name("accelerator.py")))["accelerator"]
PRESETS = ("ours", "paper", "release")


@accelerator
def get_config(arg: str = "scenes") -> ConfigDict:
    dataset, _, preset = arg.partition("/")
    preset = preset or "ours"
    if preset not in PRESETS:
        raise ValueError(f"the preset {preset!r} is not one of {', '.join(PRESETS)}")
    drawn, several = dataset.startswith("scenes"), dataset.endswith("paragraphs")
    mle = runpy.run_path(str(Path(__file__).with_name("mle.py")))["get_config"]
    config = mle(dataset)
    config.recipe = "gan" if preset == "ours" else f"gan-{preset}"
    config.stages = ("mle", "evaluator", "adversarial")
    config.noise = 100
    config.noise_law = "uniform"  # or "normal", or "zero"; maximum likelihood speaks from zero

    # What is spoken at the end; the stages before have their own.
    beam = config.decoding.to_dict()
    if not (drawn and several):
        config.decoding.method = "best_of"  # by the evaluator
    config.decoding.candidates = 20 if drawn else 5
    config.decoding.temperature = 0.45 if drawn else 0.6
    config.decoding.branch = 3  # of the method "guided", which searches by what it will say
    config.decoding.rollouts = 2
    config.decoding.noise_law = config.noise_law
    config.mle.decoding = ConfigDict(beam)

    config.evaluator_dim = 192 if drawn else 512
    config.evaluator_dropout = 0.0 if drawn else 0.5  # of the image's vector
    config.evaluator = ConfigDict()
    config.evaluator.epochs = (1.0, 0.8)[several] if drawn else 4.0  # of people's captions
    config.evaluator.batch = 64 if drawn else 128
    config.evaluator.accumulate = 1  # parts of a batch, where it does not fit whole
    config.evaluator.learning_rate = 3e-3 if drawn else 1e-3
    config.evaluator.warmup = 50
    config.evaluator.schedule = "cosine"
    config.evaluator.clip = 5.0
    config.evaluator.weight_decay = 0.0 if drawn else 0.01
    config.evaluator.alpha = 0.5 if drawn else 1.0  # weight of generated captions
    config.evaluator.beta = 3.0 if drawn else 1.0  # weight of people's captions of other images
    config.evaluator.mined = 10 if drawn else 0  # which are so many nearest ones; 0: all
    # Of paragraphs: the image's own, with a sentence of another's, or with one less.
    config.evaluator.swapped = 0.3 if several else 0.0
    config.evaluator.left_out = 0.2 if several else 0.0
    config.evaluator.decoding = ConfigDict(
        {
            "method": "best_of",
            "candidates": 5 if drawn else 10,
            "temperature": 0.4 if drawn else 1.0,
            "max_len": config.data.max_len,
            "forbid_unknown": config.decoding.forbid_unknown,
        }
    )

    config.adversarial = ConfigDict()
    own = {"scenes": 250, "scenes-paragraphs": 300, "coco": 2000}
    config.adversarial.steps = own.get(dataset, 500)  # of the speaker
    config.adversarial.batch = 128 if dataset == "scenes" else 64  # images
    config.adversarial.accumulate = 1  # parts of what either learns from
    config.adversarial.samples = 2  # captions of an image
    config.adversarial.rollouts = 2 if drawn else 4
    config.adversarial.lanes = 0  # 0: what suits the hardware
    config.adversarial.evaluator_steps = 1  # for one update of the speaker
    config.adversarial.alpha = config.evaluator.alpha
    config.adversarial.beta = config.evaluator.beta
    config.adversarial.mined = config.evaluator.mined
    config.adversarial.swapped = config.evaluator.swapped
    config.adversarial.left_out = config.evaluator.left_out
    config.adversarial.feedback = "sentence" if several else "word"  # after each of which
    config.adversarial.reward = "evaluator"  # controls: "shuffled", and "constant", which
    # teaches nothing unless the baseline is "none"
    config.adversarial.baseline = "prefix"  # or "none", "leave_one_out"
    config.adversarial.entropy = 0.0
    config.adversarial.likelihood = 0.2 if drawn else 0.3  # maximum likelihood beside it
    config.adversarial.dropout = False
    config.adversarial.lag = 0.0  # decay of the copy that rollouts speak with
    config.adversarial.average = 0.99
    config.adversarial.learning_rate = 5e-4
    config.adversarial.evaluator_learning_rate = 1e-3 if drawn else 2e-4
    config.adversarial.warmup = 20
    config.adversarial.schedule = "constant"
    config.adversarial.clip = 5.0
    config.adversarial.weight_decay = 0.0
    config.adversarial.evaluator_weight_decay = config.evaluator.weight_decay
    if preset != "ours":
        _as_published(config, preset)
    return config


def _as_published(config: ConfigDict, preset: str) -> None:
    paper = preset == "paper"
    config.mle.epochs = 20.0 if paper else 2.0
    config.evaluator.epochs = 5.0 if paper else 2.0
    # The paper searches by what the evaluator is expected to say, the code by log-probability.
    config.decoding.method = "guided" if paper else "beam"
    config.decoding.width = 3 if paper else 10
    own = config.adversarial
    for stage in (config.evaluator, own):
        stage.alpha, stage.beta, stage.mined = 1.0, 1.0, 0
    own.steps = 20_000 if paper else 100_000
    own.batch, own.samples, own.baseline = 64, 1, "none"
    own.rollouts = 16 if paper else 64
    own.evaluator_steps = 5 if paper else 50
    own.learning_rate = own.evaluator_learning_rate = 1e-4 if paper else 4e-4
    own.likelihood = 0.0
    own.dropout, own.average = True, 0.0
    own.b1, own.b2 = 0.8, 0.999
    config.evaluator_dropout, config.evaluator.weight_decay = 0.0, 0.0
    own.evaluator_weight_decay = 0.0
