"""The embedded dataset `scenes`: drawn pictures whose every caption can be judged true or false."""

from capjax.data.scenes.at_length import describe_at_length
from capjax.data.scenes.blame import false_words, false_words_of
from capjax.data.scenes.builder import SIZES, load, load_paragraphs
from capjax.data.scenes.contradictions import contradictions
from capjax.data.scenes.drawing import draw
from capjax.data.scenes.language import parse, statements
from capjax.data.scenes.layout import (
    ATTRIBUTES,
    CONCEPTS,
    concept,
    main_object,
    random_distractors,
    random_scene,
)
from capjax.data.scenes.paragraph_truth import covered, named, true_sentences
from capjax.data.scenes.people import describe
from capjax.data.scenes.truth import holds, identifies

__all__ = [
    "ATTRIBUTES",
    "CONCEPTS",
    "SIZES",
    "concept",
    "contradictions",
    "covered",
    "describe",
    "describe_at_length",
    "draw",
    "false_words",
    "false_words_of",
    "holds",
    "identifies",
    "load",
    "load_paragraphs",
    "main_object",
    "named",
    "parse",
    "random_distractors",
    "random_scene",
    "statements",
    "true_sentences",
]
