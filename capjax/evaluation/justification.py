"""Why is an image of one class and not of another? The questions, and a run's answers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.justify_files import Triplet
from capjax.data.neighbours import compared_by
from capjax.data.scenes import ATTRIBUTES, statements
from capjax.data.split import Split
from capjax.decoding.justify import justify
from capjax.decoding.telling_apart import WIDTH
from capjax.errors import InputError
from capjax.parallel import shared_out
from capjax.speaker import Params, Speaker, log_probs

BATCH = 64


class Questions(NamedTuple):
    """Why is each of N images of its class and not of another?"""

    split: Split  # an entry a question: what people wrote of the image, or answered
    rows: np.ndarray  # int[N], the images that they are about
    target: np.ndarray  # int32[N], the class of each
    distractor: np.ndarray  # int32[N], the class that it is not of


def of_triplets(split: Split, triplets: Sequence[Triplet], concepts: Sequence[str]) -> Questions:
    """The questions of a file in the manner of CUB-Justify, with the answers of people.

    Raises InputError where an image is of another class than its target, or two ask the same.
    """
    assert split.concepts is not None
    place = {name: i for i, name in enumerate(split.ids)}
    rows = np.array([place[one.image] for one in triplets])
    for one, row in zip(triplets, rows, strict=True):
        if (own := split.concepts[row]) != one.target:
            raise InputError(
                f"a triplet calls {one.image} a {concepts[one.target]}, and the dataset a"
                f" {concepts[own]}; exchange target and distractor, or correct it"
            )
    ids = tuple(f"{one.image} not {concepts[one.distractor]}" for one in triplets)
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise InputError(f"two triplets ask the same, {twice}; join their captions")
    target, distractor = (
        np.array([getattr(one, name) for one in triplets], np.int32)
        for name in ("target", "distractor")
    )
    captions = tuple(one.captions for one in triplets)
    return Questions(_entries(split, rows, ids, captions, target), rows, target, distractor)


def of_scenes(split: Split, concepts: Sequence[str]) -> Questions:
    """A question a scene: why not of a class that is unlike its own in one attribute?"""
    assert split.concepts is not None
    target = np.array(split.concepts, np.int32)
    distractor = np.empty_like(target)
    for i, mine in enumerate(target):
        words = concepts[mine].split()
        rng = np.random.default_rng((7, i))
        place = rng.integers(len(words))  # each attribute as often, however many values it has
        rest = words[:place], words[place + 1 :]
        like = [
            j
            for j, name in enumerate(concepts)
            if j != mine and (name.split()[:place], name.split()[place + 1 :]) == rest
        ]
        distractor[i] = rng.choice(like)
    rows = np.arange(len(target))
    split = _entries(split, rows, split.ids, split.captions, target)
    return Questions(split, rows, target, distractor)


def of_likeness(split: Split, images: np.ndarray, count: int) -> Questions:
    """A question an image: why not of the class whose images are most like those of its own?

    Args:
      images: [M, ...], of the split, as of `nearest`; how alike two classes are their means tell.
      count: how many classes there are.
    Raises:
      InputError: the split has images of one class.
    """
    target = np.array(split.concepts, np.int32)
    present = np.unique(target)
    if len(present) < 2:
        raise InputError("the split has images of one class, and none to tell it from")
    means = np.stack([compared_by(images[target == one]).mean(0) for one in present])
    far = np.stack([((means - mean) ** 2).sum(1) for mean in means])
    np.fill_diagonal(far, np.inf)
    nearest = np.zeros(count, np.int32)
    nearest[present] = present[far.argmin(1)]
    rows = np.arange(len(target))
    split = _entries(split, rows, split.ids, split.captions, target)
    return Questions(split, rows, target, nearest[target])


def _entries(
    split: Split,
    rows: np.ndarray,
    ids: Sequence[str],
    captions: Sequence[tuple[str, ...]],
    target: np.ndarray,
) -> Split:
    truth = split.truth
    return Split(
        tuple(ids),
        tuple(captions),
        lambda i: split.image(int(rows[i])),
        None if truth is None else tuple(truth[row] for row in rows),
        tuple(int(one) for one in target),
    )


def justify_all(
    speaker: Speaker,
    params: Params,
    images: np.ndarray,
    target: np.ndarray,
    distractor: np.ndarray,
    decoding: Mapping[str, Any],
    *,
    blind: tuple[Speaker, Params] | None = None,
    rationality: float = 0.5,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A run's answers, in batches as of `speak_all`; several processes share them.

    Args:
      images: [N, ...], an image a question.
      target, distractor: int32[N], the class that it is of and the class that it is not.
      decoding: of a beam search.
      blind, rationality: as of `justify`.
    Raises:
      InputError: another decoding, or rationality is not from 0 to 1.
    """
    if decoding["method"] != "beam" or decoding.get("groups", 1) > 1:
        raise InputError("justifications are searched by a beam; take that, with groups 1")
    if not 0 <= rationality <= 1:
        raise InputError(f"--rationality={rationality} must be from 0 to 1")
    each, width = decoding.get("samples", 1), decoding.get("width", WIDTH)

    @jax.jit
    def answer(params, unseen, seen, target, distractor):
        other = None if blind is None else (blind[0], unseen)
        found = justify(
            speaker,
            params,
            {"image": seen},
            target,
            distractor,
            blind=other,
            rationality=rationality,
            width=max(width, each),
            max_len=decoding["max_len"],
            forbid_unknown=decoding.get("forbid_unknown", False),
            block_trigrams=decoding.get("block_trigrams", False),
        ).words[:, :each]
        context = {"image": seen, "concept": target}
        context = {name: x.repeat(each, 0) for name, x in context.items()}
        log_prob = log_probs(speaker, params, context, found.reshape(-1, found.shape[-1])).sum(1)
        return found, log_prob.reshape(-1, each)

    batch = min(BATCH, len(images))

    def one(first: int) -> tuple[np.ndarray, np.ndarray]:
        rows, left = np.arange(first, first + batch), len(images) - first
        rows = np.minimum(rows, len(images) - 1)
        classes = target[rows], distractor[rows]
        unseen = None if blind is None else blind[1]
        words, log_prob = answer(params, unseen, np.asarray(images[rows]), *classes)
        return np.asarray(words)[:left], np.asarray(log_prob)[:left]

    yield from shared_out(one, range(0, len(images), batch))


def justifies(text: str, target: str, distractor: str) -> bool:
    """Whether a caption of a scene names what the target's objects have and the distractor's lack;
    of a paragraph, whether one of its sentences does.

    Args:
      target, distractor: names of classes of scenes.
    """
    mine, theirs = (set(zip(ATTRIBUTES, one.split(), strict=True)) for one in (target, distractor))
    phrases = (phrase for one in statements(text) if one for phrase in one.phrases)
    return any((mine - theirs) & set(phrase.attributes) for phrase in phrases)
