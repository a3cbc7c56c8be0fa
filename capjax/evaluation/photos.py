"""Captions of any photos by a trained run: plain, or told from other photos or another class."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from capjax.data.feature_files import PREFIX
from capjax.data.features import Encoder, read_photo
from capjax.data.justify_files import class_named
from capjax.data.vocabulary import Vocabulary
from capjax.decoding.speaking import check_decoding, speak_all
from capjax.decoding.telling_apart import Teller, tell_apart
from capjax.errors import InputError
from capjax.evaluation.justification import justify_all
from capjax.models.encoders import encoder_named
from capjax.run import Trained

Spoken = Iterator[tuple[np.ndarray, np.ndarray]]  # as of `speak_all`


class Request(NamedTuple):
    """What may be asked for at once: the arguments of `caption_photos`."""

    run: Trained
    photos: Sequence[Path]
    decoding: dict[str, Any]
    seed: int = 0
    distractors: Sequence[Path] = ()
    rationality: float = 0.5
    concept: str = ""
    against: str = ""


def caption_photos(
    run: Trained,
    photos: Sequence[Path],
    decoding: dict,
    seed: int = 0,
    distractors: Sequence[Path] = (),
    rationality: float = 0.5,
    concept: str = "",
    against: str = "",
) -> list[list[tuple[str, float]]]:
    """Captions of photos by a trained speaker, each with its log-probability in nats.

    Args:
      decoding: as in `speak_all`.
      distractors: photos that each of the others is to be told from; none for plain captions.
      rationality: as in `emitter_suppressor`.
      concept: the class of all the photos, by name, where the speaker is told one.
      against: the class that they are not of, which the captions say (`justify`).
    Returns:
      A list for each photo: one caption, or the drawn samples (best first for beams).
    Raises:
      InputError: a photo cannot be read, the encoder's weights are missing, or the run is told no
        such class.
    """
    classes = _classes(run, concept, against)
    if run.concepts and (not concept or distractors):
        raise InputError(
            "this run is told the class of a photo: name it with --concept, and with --against"
            " another to say what tells them apart, and no --distractor"
        )
    images, key = encode_photos(run, photos), jax.random.key(seed)
    spoken: Spoken
    if against:
        target, other = (np.full(len(images), one, np.int32) for one in classes)
        spoken = justify_all(
            run.speaker, run.params, images, target, other, decoding, rationality=rationality
        )
    elif distractors:
        others = encode_photos(run, distractors)
        _warn_of_equals(photos, images, distractors, others)
        spoken = _told_apart(run, images, others, decoding, rationality, key)
    else:
        spoken = _plain(run, images, classes, decoding, key)
    return _texts(run.vocabulary, spoken)


def _classes(run: Trained, concept: str, against: str) -> list[int]:
    """The classes that are named, counted from 0."""
    flags = (("--concept", concept), ("--against", against))
    classes = [_class(run, flag, name) for flag, name in flags if name]
    if against and len(set(classes)) < 2:
        raise InputError(
            f"--concept={concept} and --against={against} are one class; name another to tell it"
            " from"
        )
    return classes


def _class(run: Trained, flag: str, name: str) -> int:
    if not run.concepts:
        raise InputError(f"{flag}={name}: the run is told no classes; leave it out")
    return class_named(name, run.concepts, f"{flag}={name}")


def encode_photos(run: Trained, photos: Sequence[Path]) -> np.ndarray:
    """Photos [N, ...] as the run's speaker takes them.

    Raises InputError where it takes none, or a photo cannot be read.
    """
    name = run.recipe.data.encoder
    if name.startswith(PREFIX):
        raise InputError(
            f"this run sees features that were made elsewhere ({name}), and no photos; caption its"
            " dataset with capjax.evaluate"
        )
    encoder = encoder_named(name)
    assert isinstance(encoder, Encoder)
    pixels = np.stack([read_photo(path, encoder.size) for path in photos])
    batch = _batch(len(photos))
    features = []
    for first in range(0, len(pixels), batch):
        part = pixels[first : first + batch]
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)])
        features.append(np.asarray(encoder.apply(filled))[: len(part)])
    return np.concatenate(features)


def _batch(count: int) -> int:
    """Rounded up to a power of two, so that few programs are compiled."""
    return min(32, 1 << (count - 1).bit_length())


def _plain(
    run: Trained, images: np.ndarray, classes: Sequence[int], decoding: dict, key: jax.Array
) -> Spoken:
    """Captions of images, all of the first class where one is named."""
    noise, concepts = run.recipe.noise, bool(classes)
    beside = {"concept": np.full(len(images), classes[0], np.int32)} if concepts else {}
    check_decoding(decoding, run.speaker, run.params, images, noise, run.judge, concepts)
    return speak_all(
        run.speaker,
        run.params,
        images,
        decoding,
        noise=noise,
        key=key,
        judge=run.judge,
        beside=beside,
        batch=_batch(len(images)),
    )


def _told_apart(
    run: Trained,
    images: np.ndarray,
    others: np.ndarray,
    decoding: dict,
    rationality: float,
    key: jax.Array,
) -> Spoken:
    """Captions of images, each told from all the others."""
    return tell_apart(
        run.speaker,
        run.params,
        images,
        np.tile(np.arange(len(others)) + len(images), (len(images), 1)),
        decoding,
        teller=Teller(rationality=rationality),
        pool=np.concatenate([images, others]),
        noise=run.recipe.noise,
        key=key,
    )


def _warn_of_equals(
    photos: Sequence[Path], images: np.ndarray, distractors: Sequence[Path], others: np.ndarray
) -> None:
    """Says where a distractor is the photo itself, from which nothing can tell it."""
    for path, image in zip(photos, images, strict=True):
        for other_path, other in zip(distractors, others, strict=True):
            if np.array_equal(image, other):
                print(
                    f"capjax: warning: the distractor {other_path} shows the same as {path};"
                    " no words can tell them apart",
                    file=sys.stderr,
                )


def _texts(vocabulary: Vocabulary, spoken: Spoken) -> list[list[tuple[str, float]]]:
    return [
        [(vocabulary.decode(ids), float(score)) for ids, score in zip(row, scores, strict=True)]
        for words, log_prob in spoken
        for row, scores in zip(words, log_prob, strict=True)
    ]
