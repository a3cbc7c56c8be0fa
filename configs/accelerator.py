"""What `/accelerator` after a dataset's name makes of every recipe here; it is none itself.

python -m capjax.train --config=configs/mle.py:coco/accelerator

A recipe's batch was chosen on a CPU, and fills no GPU or TPU. Here it is `FACTORS` times as large.
As many epochs are then so many times fewer updates, of a rate that grows with the square root of
the factor, at most `MOST` times, and warms up in as many steps (You et al., 2019, for LSTMs);
averages of parameters span as many captions. A stage that counts its steps, as of two players whose
balance was found at some rate, keeps steps and rates, and each step sees at most `OTHERS` times as
much. Products round to bfloat16, and images stay on the device.
"""

import functools
import math
from collections.abc import Callable

from ml_collections import ConfigDict

# By what a batch is larger: an epoch keeps 29 updates of Flickr8k's captions, and 138 of COCO's.
FACTORS = {"flickr8k": 8, "flickr30k": 16, "coco": 32}
OTHERS = 8
MOST = 4.0
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
    for learning in config.values():
        if not isinstance(learning, ConfigDict) or "batch" not in learning:
            continue
        if "steps" in learning:
            learning.batch *= min(factor, OTHERS)
            continue
        learning.batch *= factor
        learning.learning_rate *= min(MOST, math.sqrt(factor))
        if "average" in learning:
            learning.average **= factor
    return config
