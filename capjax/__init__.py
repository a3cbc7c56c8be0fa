"""Image captioners whose captions are diverse and distinctive: the functional API."""

from capjax import metrics
from capjax.data.vocabulary import Vocabulary
from capjax.decoding.beam import beam_search
from capjax.decoding.sample import greedy, sample
from capjax.models.generator import generator
from capjax.objectives import losses
from capjax.speaker import Captions, Speaker, log_probs

__all__ = [
    "Captions",
    "Speaker",
    "Vocabulary",
    "beam_search",
    "generator",
    "greedy",
    "log_probs",
    "losses",
    "metrics",
    "sample",
]
