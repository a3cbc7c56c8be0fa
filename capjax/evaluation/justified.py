"""Why does a run say that an image is of its class and not of another? `--justify` asks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from capjax.data.contents import digest
from capjax.data.feature_files import FeatureFiles
from capjax.data.features import Encoder
from capjax.data.image_ids import plain
from capjax.data.justify_files import Triplet, read_justify
from capjax.data.prepare import Prepared
from capjax.errors import InputError, named
from capjax.evaluation.data import Encoded, RunData
from capjax.evaluation.justification import (
    Questions,
    justifies,
    justify_all,
    of_likeness,
    of_scenes,
    of_triplets,
)
from capjax.evaluation.of_speaker import Answer
from capjax.evaluation.question import Question
from capjax.evaluation.text_measures import Evaluation
from capjax.run import Trained, fingerprint, open_run
from capjax.speaker import Params, Speaker


@dataclass(frozen=True)
class Justified(Question):
    """Why is each image of its class and not of another?"""

    rationality: float = 0.5
    triplets: str = ""  # a file that says which classes; "" where the dataset does
    blind: str = ""  # the folder of a run that sees nothing: the listener
    # Known once it has been checked:
    listener: tuple[Speaker, Params] | None = None  # of the blind run
    given: Questions | None = None  # None until the images are known, whose likeness then asks

    @property
    def questions(self) -> Questions:
        assert self.given is not None  # of `with_images`
        return self.given

    def checked(self, data: RunData, decoding: Mapping[str, Any]) -> "Justified":
        run = data.run
        if not run.concepts:
            raise InputError(
                f"the run in {data.workdir} is told no classes and cannot justify them; train one"
                " of configs/justification.py"
            )
        given = None
        if self.triplets:
            given = of_triplets(data.split, _read(self.triplets, data), run.concepts)
        elif data.split.truth is not None:
            given = of_scenes(data.split, run.concepts)
        listener = _blind(self.blind, run) if self.blind else None
        return replace(self, given=given, listener=listener)

    def with_images(self, seen: Encoded, decoding: Mapping[str, Any]) -> "Justified":
        if self.given:
            return self
        classes = len(seen.data.run.concepts)
        return replace(self, given=of_likeness(seen.data.split, seen.images, classes))

    def pictures(
        self, prepared: Prepared, split: str, encoder: Encoder | FeatureFiles
    ) -> np.ndarray:
        return prepared.images[split][self.questions.rows]

    def asked(self, seen: Encoded) -> Encoded:
        prepared, split = seen.prepared, seen.data.split_name
        splits = {**prepared.splits, split: self.questions.split}
        images = {**prepared.images, split: seen.images[self.questions.rows]}
        return seen._replace(prepared=prepared._replace(splits=splits, images=images))

    def answer(self, seen: Encoded, decoding: Mapping[str, Any], seed: int) -> Answer:
        run, questions, captions = seen.data.run, self.questions, None
        if self.rationality != 1:  # else the other class is not heeded
            captions = justify_all(
                run.speaker,
                run.params,
                seen.images,
                questions.target,
                questions.distractor,
                decoding,
                blind=self.listener,
                rationality=self.rationality,
            )
        return Answer(captions, self.about)

    def finished(self, seen: Encoded, found: Evaluation) -> Evaluation:
        """With the classes of each question and, of generated images, whether it is answered."""
        concepts, generated = seen.data.run.concepts, seen.data.split.truth is not None
        targets = [concepts[i] for i in self.questions.target]
        others = [concepts[i] for i in self.questions.distractor]
        asked = zip(plain(self.questions.split.ids), targets, others, strict=True)
        digests = found.scores["digests"] | {"questions": digest(sorted(asked))}
        scores = found.scores | {"digests": digests}
        for row, target, other in zip(found.rows, targets, others, strict=True):
            row |= {"target": target, "distractor": other}
            if generated:
                said = row.get("captions") or [row["caption"]]
                marks = [justifies(text, target, other) for text in said]
                row["justifies"] = marks if "captions" in row else marks[0]
        if generated:
            scores["justifies"] = float(np.mean([row["justifies"] for row in found.rows]))
        return Evaluation(scores, found.rows)

    @property
    def about(self) -> dict[str, Any]:
        """What tables say of it."""
        about: dict[str, Any] = {
            "justifies": Path(self.triplets).name if self.triplets else "classes",
            "rationality": self.rationality,
        }
        if self.listener:
            about |= {"speaker": "semi-blind", "blind": fingerprint(self.listener[1])}
        return about

    @property
    def notes(self) -> list[str]:
        notes = [f"the listener is {self.blind}, which sees nothing"] if self.blind else []
        return notes + ([f"the questions are those of {self.triplets}"] if self.triplets else [])

    @property
    def title(self) -> str:
        by = " by a listener that sees nothing" if self.blind else ""
        return f"why of its class and not of another{by}, at rationality {self.rationality}"

    @property
    def mark(self) -> str:
        asked = f"-{Path(self.triplets).stem}" if self.triplets else ""
        return f"-justify{asked}{'-semi-blind' if self.blind else ''}-l{self.rationality}"


def _read(path: str, data: RunData) -> list[Triplet]:
    """The triplets of a file; InputError where one is about an image of another split."""
    home = {name: key for key, split in data.dataset.splits.items() for name in split.ids}
    triplets = read_justify(path, home, data.run.concepts)
    for one in triplets:
        if (other := home[one.image]) != data.split_name:
            raise InputError(
                f"{path} asks about {one.image}, which is in {other} and not in"
                f" {data.split_name}; take --split={other}, and a file for each split"
            )
    return triplets


def _blind(folder: str, run: Trained) -> tuple[Speaker, Params]:
    """The speaker of a run that sees nothing, of --blind, for the run that is evaluated."""
    with named("--blind", folder):
        blind = open_run(folder)
    if blind.recipe.data.encoder != "none" or blind.concepts != run.concepts:
        raise InputError(
            f"the run in {folder} sees images or is told other classes; give --blind a run of"
            " configs/justification.py with --config.data.encoder=none, on the same dataset"
        )
    if blind.vocabulary != run.vocabulary:
        raise InputError(
            f"the run in {folder} has another vocabulary; train both on the same captions"
        )
    return blind.speaker, blind.params
