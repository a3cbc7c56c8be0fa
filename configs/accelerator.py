"""What `/accelerator` after a dataset's name makes of every recipe here; it is none itself.

python -m capjax.train --config=configs/mle.py:coco/accelerator

A recipe's batch was chosen on a CPU, and fills no GPU or TPU. Here it is `FACTORS` times as large,
and the rate grows with the square root of the factor (Krizhevsky, 2014; You et al., 2019, for
LSTMs), at most `MOST` times. Updates become as many times fewer as their rate is higher, so that
they lead as far; epochs, warm-up and the decay of averages follow, and captions are seen more
often. A stage that counts its steps, as of two players whose balance was found at some rate, keeps
steps and rates, and each step sees at most `OTHERS` times as much. Where the images of a batch are
told apart from one another, by a listener or for its reward, the batch is what the task is, and
stays as it was. Products round to bfloat16, and images stay on the device.
"""

import functools
import math
from collections.abc import Callable

from ml_collections import ConfigDict

# By what a batch is larger: 1,024 captions of Flickr8k, 29 updates an epoch; 4,096 of COCO, 138.
FACTORS = {"flickr8k": 8, "flickr30k": 16, "coco": 32}
OTHERS = 8
# Steps from one validation to the next, about a dozen of maximum likelihood's; of others: an epoch.
VALIDATE = {"flickr8k": 100, "flickr30k": 250, "coco": 1000}
MOST = 4.0
AMONG_THE_BATCH = (
    "listener",
    "self_retrieval",
)  # rewards for being told from a batch's other images
# MB of images on the device: all but COCO's regions, whose 28 GB a card of 80 GB can hold, too.
RESIDENT = 8192


def accelerator(get_config: Callable[[str], ConfigDict]) -> Callable[[str], ConfigDict]:
    """A recipe that also takes `/accelerator`, after the dataset's name and its own preset."""

    @functools.wraps(get_config)
    def either(arg: str = "scenes") -> ConfigDict:
        plain = arg.removesuffix("/accelerator")
        config = get_config(plain)
        return config if plain == arg else _larger(config)

    return either


def _larger(config: ConfigDict) -> ConfigDict:
    factor = FACTORS.get(config.data.name, OTHERS)
    config.recipe += "-accelerator"
    config.dtype = "bfloat16"
    config.data.resident = RESIDENT
    config.validate_every = VALIDATE.get(config.data.name, config.validate_every)
    for name, learning in config.items():
        if not isinstance(learning, ConfigDict) or "batch" not in learning:
            continue
        rewards = learning.get("rewards", {})
        if name == "listener" or any(rewards.get(reward) for reward in AMONG_THE_BATCH):
            continue
        if "steps" in learning:
            learning.batch *= min(factor, OTHERS)
            continue
        learning.batch *= factor
        pace = min(MOST, math.sqrt(factor))
        learning.learning_rate *= pace
        learning.warmup = round(learning.warmup / pace)
        learning.epochs *= factor / pace
        if "average" in learning:
            learning.average **= pace
    return config
