"""What `capjax.evaluate` is asked for: its flags as one value, with which the work begins."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from capjax.evaluation.data import Places
from capjax.evaluation.question import Plain, Question


class RunRequest(NamedTuple):
    """An evaluation of a run's captions of a split."""

    workdir: str  # the run's folder
    split: str  # "train", "val" or "test"
    out: str  # the folder to write to
    metrics: tuple[str, ...]  # of `score_captions`
    question: Question = Plain()  # what is asked of it: captions, or to tell apart, or to justify
    decoding: Mapping[str, Any] = {}  # changes of the recipe's; None for what stays
    seed: int = 0  # of the draws
    retrieval: int = 0  # self-retrieval among so many images; 0 for none
    judges: Mapping[str, str] = {}  # folders of runs, by "evaluator" and "listener"
    places: Places = Places()  # where its data lie, if they have moved


class FilesRequest(NamedTuple):
    """An evaluation of a file of captions against a file of references."""

    predictions: str  # the file of captions
    references: str  # the file of references
    out: str  # the folder to write to
    metrics: tuple[str, ...]  # of `score_captions`
    known: str | None = None  # a file of training captions
    split: str | None = None  # of the references
    subset: bool = False  # whether images without a caption are left out
    ids: str | None = None  # how images are called, as of `read_pair`
    paragraphs: bool = False  # whether captions are paragraphs
