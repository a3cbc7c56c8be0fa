"""What is an evaluation? A row of scores, with all that they depend on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capjax.comparison.measures import Measure

ORDINARY, HELD_OUT = "all references", "n-1"  # the protocols


class Conditions(NamedTuple):
    """What scores depend on besides the captions. None where a file does not tell.

    Where a digest tells the references the name of the dataset is a label: a run's is "flickr8k"
    and that of captions from a file the references' file. Captions that were scored from files may
    have no split and have no images; all else is told by every evaluation, digests since there are
    any.
    """

    protocol: str  # ORDINARY or HELD_OUT
    dataset: str | None
    split: str | None
    n_images: str | None
    references: str | None
    df: str | None  # where document frequencies come from
    tokenizer: str | None
    scored: str | None = None  # the digest of the ids and references; files of old do not tell it
    images: str | None = None  # the digest of the images; captions of a file have none

    def lacks(self) -> list[str]:
        """What is not told and must be, for scores to be comparable."""
        free = ("split", "scored", "images", *(("dataset",) if self.scored else ()))
        return [
            name for name, value in self._asdict().items() if value is None and name not in free
        ]

    def alike(self, other: "Conditions") -> bool:
        """Whether scores are comparable, as far as is told; images that are not told may be any."""
        images = {self.images, other.images} - {None}
        return self.but_images() == other.but_images() and len(images) < 2

    def but_images(self) -> "Conditions":
        """All that must be equal, without labels and the images."""
        return self._replace(images=None, dataset=None if self.scored else self.dataset)

    @property
    def data(self) -> str:
        """What was scored, in a few letters; "" where it is not told."""
        images = f", images {self.images[:8]}" if self.images else ""
        return f"references {self.scored[:8]}{images}" if self.scored else ""


class Judge(NamedTuple):
    """A listener or evaluator of another run."""

    parameters: str  # the fingerprint: equal for the same judge only, wherever its run lies
    words: str  # its run and step


class Apart(NamedTuple):
    """What some measures depend on besides the conditions; None where they do not."""

    captions: int | None  # an image
    distractors: str | None
    judges: tuple[str, ...] | None  # fingerprints
    others: tuple[str, ...] | None = (
        None  # digests: of captions known, of images ranked, of questions
    )


class Training(NamedTuple):
    """How a run was trained: two with equal settings and other seeds differ by chance alone."""

    settings: str
    seeds: tuple[int, ...]  # of the runs that it started from, and its own last


class Row(NamedTuple):
    """One evaluation under one protocol: a row of a table."""

    source: Path
    people: bool  # whether people's own captions were scored
    run: str
    decoding: dict[str, Any]  # the settings that its method takes
    step: int | None
    seed: int | None  # of the draws
    n_samples: int | None  # captions an image
    conditions: Conditions
    scores: dict[str, float]  # finite numbers; whole ones are int
    reasons: dict[str, str]  # of measures that could not be taken
    judges: dict[str, "Judge"]  # under their names in measures
    trained: Training | None = None  # where the settings of its run are told
    over: tuple["Row", ...] = ()  # the rows of which it is the mean
    spread: Mapping[str, float] = {}  # deviation of a mean, error of a difference
    digests: Mapping[str, str] = {}  # of what some measures depend on, by name

    def apart(self, *measures: Measure) -> Apart:
        """What must be equal besides the conditions, for these measures of two to be comparable."""
        several = any(one.of_samples for one in measures)
        told_apart = any(one.of_distractors for one in measures)
        judges = tuple(self.judge(one).parameters for one in measures if one.judge)
        others = tuple(self.digests.get(one.depends, "") for one in measures if one.depends)
        return Apart(
            self.n_samples if several else None,
            self.distractors if told_apart else None,
            judges or None,
            others if any(others) else None,
        )

    def judge(self, measure: Measure) -> Judge:
        """Who judged. One that the file does not tell may be any, and is no other row's."""
        untold = Judge(text(self.source.resolve()), "not told; evaluate again")
        return self.judges.get(measure.judge, untold)

    @property
    def distractors(self) -> str:
        """What its images were told from, such as "hard 1"; "not told" where the file does not.

        Nearest images are so by the features that a run sees, so a digest tells which. Hard ones
        are every captioner's own, and are compared as such.
        """
        how = text(self.decoding.get("distractors") or "not told")
        which = self.digests.get("distractors", "") if how.startswith("nearest") else ""
        return f"{how} ({which[:8]})" if which else how


def text(value: object) -> str:
    """Any value as one line of text that can be printed."""
    line = " ".join(str(value).split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
