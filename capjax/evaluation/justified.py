"""The flags of `capjax.evaluate` that ask why an image is of its class and not of another."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capjax.data.contents import digest
from capjax.data.image_ids import plain
from capjax.data.justify_files import Triplet, read_justify
from capjax.data.prepare import Prepared
from capjax.data.split import Split
from capjax.errors import InputError, named
from capjax.evaluation.justification import (
    Questions,
    justifies,
    justify_all,
    of_likeness,
    of_scenes,
    of_triplets,
)
from capjax.evaluation.record import Evaluation
from capjax.run import Trained, fingerprint, open_run
from capjax.speaker import Params, Speaker


class Why(NamedTuple):
    """What is asked, and how it is answered."""

    given: Questions | None  # None until the images are known, which then ask
    concepts: tuple[str, ...]
    blind: tuple[Speaker, Params] | None
    rationality: float
    generated: bool  # whether the truth of an answer can be told
    asked_in: str  # the file of triplets; "" where the dataset asks
    blind_run: str  # the folder of the blind run

    @property
    def questions(self) -> Questions:
        assert self.given is not None  # of `with_images`
        return self.given

    @property
    def about(self) -> dict[str, Any]:
        """What tables say of it."""
        listener: dict[str, Any] = {}
        if self.blind:
            listener = {"speaker": "semi-blind", "blind": fingerprint(self.blind[1])}
        what = Path(self.asked_in).name if self.asked_in else "classes"
        return {"justifies": what, "rationality": self.rationality, **listener}

    @property
    def notes(self) -> list[str]:
        """What stands beside the scores and in no table."""
        blind = [f"the listener is {self.blind_run}, which sees nothing"] if self.blind else []
        return blind + ([f"the questions are those of {self.asked_in}"] if self.asked_in else [])

    @property
    def told(self) -> str:
        """The same in words."""
        by = " by a listener that sees nothing" if self.blind else ""
        return f"why of its class and not of another{by}, at rationality {self.rationality}"

    @property
    def mark(self) -> str:
        asked = f"-{Path(self.asked_in).stem}" if self.asked_in else ""
        return f"-justify{asked}{'-semi-blind' if self.blind else ''}-l{self.rationality}"

    def with_images(self, split: Split, images: np.ndarray) -> "Why":
        """With the questions that a split's images ask, where none were given."""
        if self.given:
            return self
        return self._replace(given=of_likeness(split, images, len(self.concepts)))

    def asked(self, prepared: Prepared, split: str) -> Prepared:
        """The dataset with the questions in the place of a split."""
        images = prepared.images[split][self.questions.rows]
        return prepared._replace(
            splits={**prepared.splits, split: self.questions.split},
            images={**prepared.images, split: images},
        )

    def answers(
        self, run: Trained, images: np.ndarray, decoding: Mapping[str, Any]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]] | None:
        """None where the distractor is not heeded."""
        if self.rationality == 1:
            return None
        return justify_all(
            run.speaker,
            run.params,
            images,
            self.questions.target,
            self.questions.distractor,
            decoding,
            blind=self.blind,
            rationality=self.rationality,
        )

    def judged(self, found: Evaluation) -> Evaluation:
        """With the classes of each question and, of generated images, whether it is answered."""
        target, distractor = (
            [self.concepts[i] for i in ids]
            for ids in (self.questions.target, self.questions.distractor)
        )
        asked = zip(plain(self.questions.split.ids), target, distractor, strict=True)
        digests = found.scores["digests"] | {"questions": digest(sorted(asked))}
        found = found._replace(scores=found.scores | {"digests": digests})
        for row, mine, other in zip(found.rows, target, distractor, strict=True):
            row |= {"target": mine, "distractor": other}
            if self.generated:
                said = row.get("captions") or [row["caption"]]
                marks = [justifies(text, mine, other) for text in said]
                row["justifies"] = marks if "captions" in row else marks[0]
        if not self.generated:
            return found
        share = float(np.mean([row["justifies"] for row in found.rows]))
        return found._replace(scores=found.scores | {"justifies": share})


def why_of(flags: argparse.Namespace, run: Trained, splits: Mapping[str, Split]) -> Why:
    """What --justify asks of a run, before its images have been encoded.

    Raises InputError where the run is told no classes, or what is given does not fit it.
    """
    if not run.concepts:
        raise InputError(
            f"the run in {flags.workdir} is told no classes and cannot justify them; train one of"
            " configs/justification.py"
        )
    split = splits[flags.split]
    generated = split.truth is not None
    given = None
    if flags.triplets:
        given = of_triplets(split, _triplets(flags, run, splits), run.concepts)
    elif generated:
        given = of_scenes(split, run.concepts)
    rationality = 0.5 if flags.rationality is None else flags.rationality
    blind = _blind(flags, run)
    files = flags.triplets or "", flags.blind or ""
    return Why(given, run.concepts, blind, rationality, generated, *files)


def _triplets(
    flags: argparse.Namespace, run: Trained, splits: Mapping[str, Split]
) -> list[Triplet]:
    """Those of --triplets; InputError where one is about an image of another split."""
    home = {name: key for key, split in splits.items() for name in split.ids}
    triplets = read_justify(flags.triplets, home, run.concepts)
    for one in triplets:
        if home[one.image] != flags.split:
            raise InputError(
                f"{flags.triplets} asks about {one.image}, which is in {home[one.image]} and not in"
                f" {flags.split}; take --split={home[one.image]}, and a file for each split"
            )
    return triplets


def _blind(flags: argparse.Namespace, run: Trained) -> tuple[Speaker, Params] | None:
    if not flags.blind:
        return None
    with named("--blind", flags.blind):
        blind = open_run(flags.blind)
    if blind.config["data"]["encoder"] != "none" or blind.concepts != run.concepts:
        raise InputError(
            f"the run in {flags.blind} sees images or is told other classes; give --blind a run of"
            " configs/justification.py with --config.data.encoder=none, on the same dataset"
        )
    if blind.vocabulary != run.vocabulary:
        raise InputError(
            f"the run in {flags.blind} has another vocabulary; train both on the same captions"
        )
    return blind.speaker, blind.params
