"""Are these captions and references fit to be scored against each other, and by what?"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from capjax.errors import InputError

METRICS = ("bleu", "meteor", "rouge_l", "cider_d", "spice")

Captions = Mapping[Any, Sequence[str]]  # {id: captions}, ids hashable


def check_metrics(metrics: Collection[str]) -> tuple[str, ...]:
    """The metrics that are named, each once, in the order of METRICS; InputError for any other."""
    wanted = (metrics,) if isinstance(metrics, str) else tuple(metrics)
    for name in wanted:
        if name not in METRICS:
            raise InputError(f"there is no metric {name!r}; choose from {', '.join(METRICS)}")
    return tuple(name for name in METRICS if name in wanted)


def check_captions(candidates: Captions, references: Captions) -> None:
    """InputError, naming an image, where captions cannot be scored against references.

    Both must have the same ids; every image as many candidates, and one reference or more.
    """
    if not candidates:
        raise InputError("there are no candidate captions to score; give one for each image")
    for one, other, lack in (
        (candidates, references, "has a candidate but no references"),
        (references, candidates, "has references but no candidate"),
    ):
        alone = [i for i in one if i not in other]
        if alone:
            raise InputError(
                f"image {alone[0]} {lack} ({len(alone)} images like it); give both the same ids"
            )
    first = next(iter(candidates))
    for i, captions in candidates.items():
        if isinstance(captions, str) or not len(captions):
            raise InputError(
                f"image {i} has {'a text' if isinstance(captions, str) else '0 captions'} as its "
                "candidates; give a list of one caption, or of as many as the other images have"
            )
        if len(captions) != len(candidates[first]):
            raise InputError(
                f"image {i} has {len(captions)} captions as its candidates and image {first} has "
                f"{len(candidates[first])}; give every image as many"
            )
        if isinstance(references[i], str) or not len(references[i]):
            raise InputError(f"image {i} needs a list of at least one reference caption")
        for text in (*captions, *references[i]):
            if not isinstance(text, str):
                raise InputError(f"image {i} has the caption {text!r}, which is not text")
