"""What does a run say of images so that they are told from others? `--distractors` asks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from capjax.data.feature_files import FeatureFiles
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared
from capjax.decoding.speaking import Judged, speak_all
from capjax.decoding.telling_apart import RANKED, Teller, apart_decoding, check_teller, tell_apart
from capjax.errors import InputError, named
from capjax.evaluation.data import Encoded, RunData
from capjax.evaluation.distractors import Distractors, easy, hard, twins, with_twins
from capjax.evaluation.lifted_words import RATIONALITIES, write_pairs
from capjax.evaluation.of_speaker import Answer
from capjax.evaluation.question import Question
from capjax.files.places import place, resolved
from capjax.files.whole import write_json
from capjax.parallel import shared_out
from capjax.run import Recipe, fingerprint, open_run
from capjax.run.data import same_features


@dataclass(frozen=True)
class ToldApart(Question):
    """What does the run say of each image that would not fit its distractors?"""

    number: int  # distractors of an image
    kind: str  # "nearest", "hard" or "twins"
    teller: Teller  # its guide is known once it has been checked
    guide: str = ""  # the folder of the run whose listener the teller asks
    found: Distractors | None = None  # None until the images are known

    @property
    def distractors(self) -> Distractors:
        assert self.found is not None  # of `with_images`
        return self.found

    def own_decoding(self, recipe: Recipe) -> Mapping[str, Any]:
        return apart_decoding(recipe.decoding, recipe.noise)

    def checked(self, data: RunData, decoding: Mapping[str, Any]) -> "ToldApart":
        if data.run.concepts:
            raise InputError(
                f"the run in {data.workdir} is told a class of every image, and tells classes"
                " apart, not images; ask it with --justify"
            )
        teller = self.teller._replace(guide=_listener(self.guide, data) if self.guide else None)
        check_teller(teller, decoding)
        count = len(data.split.ids)
        if self.kind == "twins":
            twins(data.split, self.number)
        elif not 1 <= self.number < count:
            raise InputError(
                f"--distractors={self.number} must be from 1 to {count - 1}, one less than there"
                " are images"
            )
        self.check_encoder(data.encoder)
        return replace(self, teller=teller)

    def check_encoder(self, encoder: Encoder | FeatureFiles) -> None:
        """Near twins are drawn, and features of a user's have none of them."""
        if self.kind == "twins" and not isinstance(encoder, Encoder):
            raise InputError(
                f"{encoder.folder} has features of no near twins; take the nearest images"
            )

    def with_images(self, seen: Encoded, decoding: Mapping[str, Any]) -> "ToldApart":
        return replace(self, found=self._distractors(seen, decoding))

    def _distractors(self, seen: Encoded, decoding: Mapping[str, Any]) -> Distractors:
        run, images, split = seen.data.run, seen.images, seen.data.split
        if self.kind == "twins":
            pool = self.pictures(seen.prepared, seen.data.split_name, seen.data.encoder)
            return twins(split, self.number)._replace(pool=pool)
        if self.kind == "nearest":
            return Distractors("nearest", easy(images, self.number))
        spoken = speak_all(
            run.speaker, run.params, images, decoding, noise=run.recipe.noise, over=shared_out
        )
        texts = [run.vocabulary.decode(words[0]) for batch, _ in spoken for words in batch]
        return Distractors("hard", hard(images, texts, self.number))

    def pictures(
        self, prepared: Prepared, split: str, encoder: Encoder | FeatureFiles
    ) -> np.ndarray:
        images = prepared.images[split]
        if self.kind != "twins":
            return images
        assert isinstance(encoder, Encoder)  # of `check_encoder`
        return with_twins(prepared.splits[split], self.number, images, encoder)

    def answer(self, seen: Encoded, decoding: Mapping[str, Any], seed: int) -> Answer:
        run, found, captions = seen.data.run, self.distractors, None
        if self.teller.rationality != 1 or self.teller.name in RANKED:  # else as the run speaks
            captions = tell_apart(
                run.speaker,
                run.params,
                seen.images,
                found.rows,
                decoding,
                teller=self.teller,
                pool=found.pool,
                noise=run.recipe.noise,
                key=jax.random.key(seed),
                over=shared_out,
            )
        mine = self.guide and resolved(self.guide) == resolved(seen.data.workdir)
        return Answer(captions, self.about, found, asked_own=bool(mine))

    def write(
        self, folder: Path, mark: str, seen: Encoded, decoding: Mapping[str, Any]
    ) -> tuple[Path, ...]:
        """The distractors by their ids, and a page of a few images beside theirs."""
        data, found = seen.data, self.distractors
        split, ids = data.split_name, data.split.ids
        if found.kind != "twins":
            kept = {ids[i]: [ids[j] for j in row] for i, row in enumerate(found.rows)}
            name = f"distractors-{split}-{found.kind}{self.number}{seen.mark}.json"
            write_json(folder / name, kept)
        page = write_pairs(
            folder / f"distractors{mark}.html",
            f"{resolved(data.workdir).name}, {split} of {data.name}: {self.title}",
            data.run,
            data.split,
            seen.images,
            found,
            decoding=decoding,
            teller=self.teller,
            rationalities=sorted({*RATIONALITIES, self.teller.rationality}, reverse=True),
        )
        return (page,) if page else ()

    @property
    def about(self) -> dict[str, Any]:
        """What tables say of it."""
        teller = self.teller
        about: dict[str, Any] = {"distractors": f"{self.kind} {self.number}"}
        about["rationality"] = teller.rationality
        if teller.name != Teller().name:
            about["speaker"] = teller.name
        if teller.name in RANKED:
            about["candidates"] = teller.candidates
        if teller.guide:
            about["guide"] = fingerprint(teller.guide[1])
        return about

    @property
    def notes(self) -> list[str]:
        return [f"the speaker asks the listener of {self.guide}"] if self.guide else []

    @property
    def title(self) -> str:
        name, rationality, candidates, _ = self.teller
        by = "" if name == Teller().name else f" by the {name} speaker"
        by += f" out of {candidates} candidates" if name in RANKED else ""
        return f"told from {self.number} {self.kind}{by} at rationality {rationality}"

    @property
    def mark(self) -> str:
        name, rationality, candidates, _ = self.teller
        by = "" if name == Teller().name else f"-{name}"
        by += "" if candidates == Teller().candidates else f"-c{candidates}"
        by += f"-by-{resolved(self.guide).name}" if self.guide else ""
        return f"-{self.kind}{self.number}{by}-l{rationality}"


def _listener(guide: str, data: RunData) -> Judged:
    """The listener of the run in a folder, of --guide, for the run that is evaluated."""
    with named("--guide", guide):
        other = open_run(guide)
    if other.judge is None or other.recipe.judged_by != "listener":
        raise InputError(
            f"the run in {guide} trained no listener; give --guide the folder of a run of"
            " configs/listener.py"
        )
    theirs, ours = (one.recipe.data.encoder for one in (other, data.run))
    seen = theirs == ours or same_features(place(guide), place(data.workdir))
    if other.vocabulary != data.run.vocabulary or not seen:
        raise InputError(
            f"the listener of {guide} has another vocabulary or another encoder ({theirs}"
            f" where the run has {ours}); start both from one run"
        )
    return other.judge
