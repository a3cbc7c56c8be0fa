"""The flags of `capjax.evaluate` that say from what images are told, and how."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.feature_files import FeatureFiles
from capjax.data.features import Encoder
from capjax.data.prepare import Prepared
from capjax.data.split import Split
from capjax.decoding.speaking import speak_all
from capjax.decoding.telling_apart import RANKED, Teller, check_teller, tell_apart
from capjax.errors import InputError, named
from capjax.evaluation.distractors import Distractors, easy, hard, twins, with_twins
from capjax.evaluation.lifted_words import RATIONALITIES, write_pairs
from capjax.files.whole import write_json
from capjax.run import Trained, fingerprint, open_run
from capjax.run.data import same_features


class Apart(NamedTuple):
    """What a run's captions tell images from, and how."""

    distractors: Distractors
    teller: Teller
    guide: str = ""  # the run that guides it

    @property
    def about(self) -> dict[str, Any]:
        """What tables say of it."""
        kind, rows = self.distractors
        about: dict[str, Any] = {"distractors": f"{kind} {rows.shape[1]}"}
        about["rationality"] = self.teller.rationality
        if self.teller.name != Teller().name:
            about["speaker"] = self.teller.name
        if self.teller.name in RANKED:
            about["candidates"] = self.teller.candidates
        if self.teller.guide:
            about["guide"] = fingerprint(self.teller.guide[1])
        return about

    @property
    def notes(self) -> list[str]:
        """What stands beside the scores and in no table."""
        return [f"the speaker asks the listener of {self.guide}"] if self.guide else []

    @property
    def told(self) -> str:
        """The same in words."""
        kind, rows = self.distractors
        name, rationality, candidates, _ = self.teller
        by = "" if name == Teller().name else f" by the {name} speaker"
        by += f" out of {candidates} candidates" if name in RANKED else ""
        return f"told from {rows.shape[1]} {kind}{by} at rationality {rationality}"

    @property
    def mark(self) -> str:
        """What its files are told by."""
        kind, rows = self.distractors
        name, rationality, candidates, _ = self.teller
        by = "" if name == Teller().name else f"-{name}"
        by += "" if candidates == Teller().candidates else f"-c{candidates}"
        by += f"-by-{Path(self.guide).resolve().name}" if self.guide else ""
        return f"-{kind}{rows.shape[1]}{by}-l{rationality}"

    def spoken(
        self,
        run: Trained,
        images: np.ndarray,
        decoding: Mapping[str, Any],
        pool: np.ndarray | None,
        seed: int,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]] | None:
        """Captions that tell the images apart; None where they are those said anyway."""
        if self.teller.rationality == 1 and self.teller.name not in RANKED:
            return None
        return tell_apart(
            run.speaker,
            run.params,
            images,
            self.distractors.rows,
            decoding,
            teller=self.teller,
            pool=pool,
            noise=run.config["noise"],
            key=jax.random.key(seed),
        )

    def write_page(
        self,
        path: Path,
        run: Trained,
        prepared: Prepared,
        split: str,
        decoding: Mapping[str, Any],
        pool: np.ndarray | None,
        name: str,
    ) -> Path | None:
        """Writes a few images beside their distractors, as `write_pairs`; name: the run's."""
        return write_pairs(
            path,
            f"{name}, {split} of {run.config['data']['name']}: {self.told}",
            run,
            prepared.splits[split],
            prepared.images[split],
            self.distractors,
            pool=pool,
            decoding=decoding,
            teller=self.teller,
            rationalities=sorted({*RATIONALITIES, self.about["rationality"]}, reverse=True),
        )


def teller_of(
    flags: argparse.Namespace, run: Trained, split: Split, decoding: Mapping[str, Any]
) -> Teller:
    """Who tells a split's images apart, before they have been encoded.

    Raises InputError where there are not so many distractors, or they cannot be told apart so.
    """
    if run.concepts:
        raise InputError(
            f"the run in {flags.workdir} is told a class of every image, and tells classes apart,"
            " not images; ask it with --justify"
        )
    given = Teller(
        flags.speaker or Teller().name,
        0.5 if flags.rationality is None else flags.rationality,
        Teller().candidates if flags.candidates is None else flags.candidates,
        _guide(flags, run),
    )
    if given.name in RANKED and flags.width is not None:
        raise InputError(
            f"--width has no meaning for the {given.name} speaker, whose beam is as wide as it has"
            " candidates; give --candidates"
        )
    check_teller(given, decoding)
    count, number = len(split.ids), flags.distractors
    if flags.twins:
        twins(split, number)
    elif not 1 <= number < count:
        raise InputError(
            f"--distractors={number} must be from 1 to {count - 1}, one less than there are images"
        )
    return given


def apart_of(
    flags: argparse.Namespace,
    run: Trained,
    teller: Teller,
    prepared: Prepared,
    decoding: Mapping[str, Any],
    folder: Path,
    mark: str = "",
) -> Apart:
    """Distractors of a run's images, written into a folder by their ids, and who tells them apart.

    mark: in the name of the file, where the images are not the run's own.
    """
    found = _distractors(flags, run, prepared, decoding)
    ids = prepared.splits[flags.split].ids
    if found.kind != "twins":
        kept = {ids[i]: [ids[j] for j in row] for i, row in enumerate(found.rows)}
        name = f"distractors-{flags.split}-{found.kind}{flags.distractors}{mark}.json"
        write_json(folder / name, kept)
    return Apart(found, teller, flags.guide or "")


def check_twins(flags: argparse.Namespace, encoder: Encoder | FeatureFiles) -> None:
    """Raises InputError where near twins, which are drawn, cannot be encoded."""
    if flags.twins and not isinstance(encoder, Encoder):
        raise InputError(f"{encoder.folder} has features of no near twins; take the nearest images")


def pool_for(
    apart: Apart, prepared: Prepared, split: str, made: Encoder | FeatureFiles
) -> np.ndarray | None:
    """What the distractors' rows are of, as an encoder has it; None for the split's own images."""
    if apart.distractors.kind != "twins":
        return None
    assert isinstance(made, Encoder)  # of check_twins
    number = apart.distractors.rows.shape[1]
    return with_twins(prepared.splits[split], number, prepared.images[split], made)


def _guide(flags: argparse.Namespace, run: Trained) -> Any:
    """The listener that the reasoning speaker asks, of --guide."""
    if not flags.guide:
        return None
    if flags.listener and Path(flags.guide).resolve() == Path(flags.listener).resolve():
        raise InputError(
            f"--guide and --listener are both {flags.guide}: a listener that a speaker asks cannot"
            " judge it; train another on the other half of the images"
        )
    with named("--guide", flags.guide):
        guide = open_run(flags.guide)
    if guide.judge is None or guide.recipe.judged_by != "listener":
        raise InputError(
            f"the run in {flags.guide} trained no listener; give --guide the folder of a run of"
            " configs/listener.py"
        )
    theirs, ours = (one.config["data"]["encoder"] for one in (guide, run))
    seen = theirs == ours or same_features(Path(flags.guide), Path(flags.workdir))
    if guide.vocabulary != run.vocabulary or not seen:
        raise InputError(
            f"the listener of {flags.guide} has another vocabulary or another encoder ({theirs}"
            f" where the run has {ours}); start both from one run"
        )
    return guide.judge


def _distractors(
    flags: argparse.Namespace, run: Trained, prepared: Prepared, decoding: Mapping[str, Any]
) -> Distractors:
    images, number = prepared.images[flags.split], flags.distractors
    if flags.twins:
        return twins(prepared.splits[flags.split], number)
    if not flags.hard:
        return Distractors("nearest", easy(images, number))
    spoken = speak_all(run.speaker, run.params, images, decoding, noise=run.config["noise"])
    texts = [run.vocabulary.decode(words[0]) for batch, _ in spoken for words in batch]
    return Distractors("hard", hard(images, texts, number))
