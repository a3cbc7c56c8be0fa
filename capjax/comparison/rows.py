"""What is an evaluation? A row of scores, with all that they depend on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capjax.comparison.measures import Measure

ORDINARY, HELD_OUT = "all references", "n-1"  # the protocols


class Conditions(NamedTuple):
    """What scores depend on besides the captions. None where a file does not tell.

    Captions that were scored from files may have no split; all else is told by every evaluation.
    """

    protocol: str  # ORDINARY or HELD_OUT
    dataset: str | None
    split: str | None
    n_images: str | None
    references: str | None
    df: str | None  # where document frequencies come from
    tokenizer: str | None

    def lacks(self) -> list[str]:
        """What is not told and must be, for scores to be comparable."""
        return [name for name, value in self._asdict().items() if value is None and name != "split"]


class Judge(NamedTuple):
    """A listener or evaluator of another run."""

    parameters: str  # the fingerprint: equal for the same judge only, wherever its run lies
    words: str  # its run and step


class Apart(NamedTuple):
    """What some measures depend on besides the conditions; None where they do not."""

    captions: int | None  # an image
    distractors: str | None
    judges: tuple[str, ...] | None  # fingerprints


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

    def apart(self, *measures: Measure) -> Apart:
        """What must be equal besides the conditions, for these measures of two to be comparable."""
        several = any(one.of_samples for one in measures)
        told = any(one.of_distractors for one in measures)
        judges = tuple(self.judge(one).parameters for one in measures if one.judge)
        return Apart(
            self.n_samples if several else None, self.distractors if told else None, judges or None
        )

    def judge(self, measure: Measure) -> Judge:
        """Who judged. One that the file does not tell may be any, and is no other row's."""
        untold = Judge(text(self.source.resolve()), "not told; evaluate again")
        return self.judges.get(measure.judge, untold)

    @property
    def distractors(self) -> str:
        """What its images were told from, such as "hard 1"; "not told" where the file does not."""
        return text(self.decoding.get("distractors") or "not told")


def text(value: object) -> str:
    """Any value as one line of text that can be printed."""
    line = " ".join(str(value).split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)
