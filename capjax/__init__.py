"""Image captioners whose captions are diverse and distinctive: the functional API."""

from capjax import metrics
from capjax.data.vocabulary import Vocabulary
from capjax.decoding.beam import beam_search
from capjax.decoding.reasoning import reasoning_speaker
from capjax.decoding.rollouts import rollout_values
from capjax.decoding.sample import greedy, sample
from capjax.decoding.suppressor import emitter_suppressor, introspective_score
from capjax.judging import Evaluator, judge, listen
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.models.listener import listener
from capjax.models.paragraph_evaluator import paragraph_evaluator
from capjax.models.paragraphs import paragraph_generator
from capjax.objectives import losses
from capjax.speaker import SENTENCE, Captions, Speaker, log_probs

__all__ = [
    "SENTENCE",
    "Captions",
    "Evaluator",
    "Speaker",
    "Vocabulary",
    "beam_search",
    "emitter_suppressor",
    "evaluator",
    "generator",
    "greedy",
    "introspective_score",
    "judge",
    "listen",
    "listener",
    "log_probs",
    "losses",
    "metrics",
    "paragraph_evaluator",
    "paragraph_generator",
    "reasoning_speaker",
    "rollout_values",
    "sample",
]
