"""Runs that judge another run's captions: `--evaluator` and `--listener`."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from capjax.data.feature_files import FeatureFiles
from capjax.data.features import Encoder
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError, named
from capjax.evaluation.data import RunData
from capjax.evaluation.question import Question
from capjax.evaluation.verdicts import Judge
from capjax.files.places import place
from capjax.models.encoders import encoder_named
from capjax.run import Trained, fingerprint, open_run
from capjax.run.data import same_features


class JudgeRun(NamedTuple):
    """A run that trained a judge of another run's captions."""

    kind: str  # "evaluator" or "listener"
    folder: str
    run: Trained
    encoder: Encoder | FeatureFiles | None = None  # where it sees images otherwise than the other

    @property
    def name(self) -> str:
        """In the names of its measures."""
        return {"evaluator": "e_ngan"}.get(self.kind, self.kind)

    @property
    def about(self) -> dict[str, Any]:
        """Which it is, for the scores."""
        made = fingerprint(self.run.evaluator_params)
        return {"run": self.folder, "step": self.run.step, "parameters": made}

    def beside(self, data: RunData, question: Question) -> "JudgeRun":
        """With its encoder, where it is another.

        Raises InputError where that cannot see all images, or it reads captions of another kind.
        """
        check_same_kind(self.kind, self.folder, self.run.vocabulary, data.run.vocabulary)
        theirs, ours = (one.recipe.data.encoder for one in (self.run, data.run))
        if theirs == ours or same_features(place(self.folder), place(data.workdir)):
            return self
        with named(f"--{self.kind}", self.folder):
            encoder = encoder_named(theirs)
        question.check_encoder(encoder)
        return self._replace(encoder=encoder)

    def judge(self, data: RunData, question: Question) -> Judge:
        """What judges, with the images as it sees them."""
        if self.encoder is None:
            return judge_of(self.run)
        prepared = data.encoded_by(self.encoder)
        return judge_of(self.run, question.pictures(prepared, data.split_name, self.encoder))


def open_judges(folders: Mapping[str, str]) -> list[JudgeRun]:
    """The runs of --evaluator and --listener.

    Args:
      folders: of the runs, by kind.
    Raises:
      InputError: a run trained no such judge.
    """
    return [JudgeRun(kind, folder, _open(folder, kind)) for kind, folder in folders.items()]


def check_same_kind(kind: str, folder: str, theirs: Vocabulary, ours: Vocabulary) -> None:
    """Raises InputError where a judge read paragraphs and is to judge captions, or the reverse.

    Its verdict would be of the first words alone, or of one sentence where it knows several.
    """
    if theirs.sentences != ours.sentences:
        reads, said = "captions of one sentence", "paragraphs"
        if theirs.sentences:
            reads, said = said, reads
        raise InputError(
            f"the {kind} of {folder} learnt to read {reads}, and the run speaks {said}; name a run"
            f" that was trained on {said}"
        )


def _open(folder: str, kind: str) -> Trained:
    with named(f"--{kind}", folder):
        run = open_run(folder)
    if run.evaluator is None or run.recipe.judged_by != kind:
        raise InputError(
            f"the run in {folder} trained no {kind}; give --{kind} the folder of a run of"
            f" configs/{kind}.py"
        )
    return run


def judge_of(run: Trained, images: np.ndarray | None = None) -> Judge:
    """The evaluator or listener that a run trained as a judge of text.

    Args:
      images: as it takes them, where the speaker that it judges takes others.
    Raises:
      ValueError: the run trained none.
    """
    if run.evaluator is None:
        raise ValueError("the run trained no evaluator")
    max_len = run.recipe.data.max_len
    picks = run.recipe.judged_by == "listener"
    return Judge(run.evaluator, run.evaluator_params, run.vocabulary, max_len, images, picks)
