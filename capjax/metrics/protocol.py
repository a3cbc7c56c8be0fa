"""Two ways to score captions against references: all of them, or all but one held out.

Where people are to be compared with captioners, one reference of each image is held out as the
caption of the system "human", and every system is scored against the others (Dai et al., 2017).
Fewer references give lower scores: BLEU-4 of one system is .232 with five and .206 with four. So
every result here says whose it is and against what, and neither is called by the metric alone.
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from capjax.errors import InputError
from capjax.metrics.check_captions import METRICS, Captions, check_captions
from capjax.metrics.official import Scores, score_all

ALL, HELD_OUT, HUMAN = "all", "n-1", "n-1 human"


class Protocol(NamedTuple):
    """A way to score: what is scored, and against which references."""

    name: str  # ALL, HELD_OUT or HUMAN
    references: str  # in words, such as "4 of 5, one held out (seed 0)"
    scores: Scores

    def result(self) -> dict[str, Any]:
        """The numbers, beginning with what they are of."""
        system = "human" if self.name == HUMAN else "candidates"
        about = {"protocol": self.name, "system": system, "references": self.references}
        return about | self.scores.result()


def hold_out(
    references: Captions, seed: int = 0
) -> tuple[dict[Hashable, list[str]], dict[Hashable, list[str]]]:
    """Holds one reference of each image out, as the caption of the system "human".

    Which one is drawn by a hash of seed and id, so it depends neither on the other images nor on
    their order; ids 42 and "42" draw alike.

    Args:
      references: {id: [reference, ...]}.
      seed: of the draw.
    Returns:
      (human {id: [caption]}, remaining {id: [reference, ...]}).
    Raises:
      InputError: an image, which is named, has only one reference.
    """
    human: dict[Hashable, list[str]] = {}
    remaining: dict[Hashable, list[str]] = {}
    for i, texts in references.items():
        if isinstance(texts, str) or len(texts) < 2:
            raise InputError(
                f"image {i} has no second reference, and one is to be held out; leave the image "
                "out, or score against all references only"
            )
        digest = hashlib.sha256(f"{seed}\0{i}".encode(errors="surrogatepass")).digest()
        drawn = int.from_bytes(digest[:8], "big") % len(texts)
        human[i] = [texts[drawn]]
        remaining[i] = [text for n, text in enumerate(texts) if n != drawn]
    return human, remaining


def score_protocols(
    candidates: Captions, references: Captions, *, seed: int = 0, **options: Any
) -> list[Protocol]:
    """`score_each` by all protocols, split into words once, with one METEOR process.

    candidates: {id: [caption, ...]}; references: {id: [reference, ...]}, two or more of each image.
    seed: of `hold_out`. options: as of `score_each`; by default all metrics.

    -> ALL: the candidates against all references; HELD_OUT: the candidates against all but one;
    HUMAN: that one against the others. Raises InputError as `score_each` and `hold_out`.
    """
    check_captions(candidates, references)
    human, remaining = hold_out(references, seed)
    jobs: list[tuple[Captions, Captions]] = [
        (candidates, references),
        (candidates, remaining),
        (human, remaining),
    ]
    if options.get("metrics") is None:
        options["metrics"] = METRICS
    every, held, people = score_all(jobs, **options)
    whole = how_many(references)
    rest = f"{how_many(remaining)} of {whole}, one held out (seed {seed})"
    return [
        Protocol(ALL, f"all {whole}", every),
        Protocol(HELD_OUT, rest, held),
        Protocol(HUMAN, rest, people),
    ]


def score_both(
    candidates: Captions, references: Captions, *, seed: int = 0, **options: Any
) -> dict[str, dict[str, Any]]:
    """What `score_captions` gives, by both protocols, and what people reach by the second.

    Args:
      candidates, references: as of `score_captions`, and so are the options; two references or
        more of each image.
      seed: of `hold_out`.
    Returns:
      {"all": ..., "n-1": ..., "n-1 human": ...}: the candidates against all references, against
      all but one, and that one against the others. Each result says in "protocol", "system" and
      "references" what it is of.
    Raises:
      InputError: as `score_captions` and `hold_out`.
    """
    return {
        protocol.name: protocol.result()
        for protocol in score_protocols(candidates, references, seed=seed, **options)
    }


def how_many(references: Mapping[Any, Sequence[str]]) -> str:
    """How many references the images have: "5", or "4 to 7"."""
    counts = {len(texts) for texts in references.values()}
    fewest, most = min(counts), max(counts)
    return str(fewest) if fewest == most else f"{fewest} to {most}"
