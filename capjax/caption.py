"""`python -m capjax.caption --workdir=DIR photo.jpg [more.jpg | folder]`: captions of any photo.

A folder's photos are its own, by their endings and not hidden; what is left out is told. Which
files can be read, and as what pixels, says capjax.data.photo_pixels.

With --distractor=other.jpg [--rationality=0.5], captions that tell the photo from the other; of a
run that is told classes, with --concept=NAME [--against=NAME], captions that say why it is of the
one and not of the other.
"""

import argparse
import json
import os
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from capjax.command import command, printable
from capjax.data.feature_files import PREFIX
from capjax.data.features import Encoder, read_photo
from capjax.data.justify_files import class_named
from capjax.data.photo_files import photos_in
from capjax.decoding.speaking import METHODS, check_decoding, decoding_of, speak_all
from capjax.decoding.telling_apart import Teller, apart_config, tell_apart
from capjax.errors import InputError, named
from capjax.evaluation.justification import justify_all
from capjax.files.paths import check_path
from capjax.models.encoders import encoder_named
from capjax.run import Trained, open_run

# Of draws, where a recipe has no temperature of its own: at 1 a captioner of our size says
# word salad (docs/results.md).
TEMPERATURE = 0.5


def photo_files(names: Sequence[str]) -> list[Path]:
    """The photos among files and folders; of a folder, those that `photos_in` finds.

    Raises InputError where a name is not there, or a folder holds no photo.
    """
    files: list[Path] = []
    for name in names:
        path = Path(name)
        try:
            kind = path.stat().st_mode
        except (OSError, ValueError) as error:  # ValueError: no name of a file
            why = getattr(error, "strerror", None) or error
            raise InputError(
                f"there is no photo {path} ({why}); give a file or a folder of photos"
            ) from error
        files += photos_in(path) if stat.S_ISDIR(kind) else [path]
    return files


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
    named = (("--concept", concept), ("--against", against))
    classes = [_class(run, flag, name) for flag, name in named if name]
    if against and len(set(classes)) < 2:
        raise InputError(
            f"--concept={concept} and --against={against} are one class; name another to tell it"
            " from"
        )
    if run.concepts and (not concept or distractors):
        raise InputError(
            "this run is told the class of a photo: name it with --concept, and with --against"
            " another to say what tells them apart, and no --distractor"
        )
    images, noise, key = _encoded(run, photos), run.config["noise"], jax.random.key(seed)
    if against:
        target, distractor = (np.full(len(images), one, np.int32) for one in classes)
        spoken = justify_all(
            run.speaker, run.params, images, target, distractor, decoding, rationality=rationality
        )
    elif distractors:
        others = _encoded(run, distractors)
        _warn_of_equals(photos, images, distractors, others)
        spoken = tell_apart(
            run.speaker,
            run.params,
            images,
            np.tile(np.arange(len(others)) + len(images), (len(images), 1)),
            decoding,
            teller=Teller(rationality=rationality),
            pool=np.concatenate([images, others]),
            noise=noise,
            key=key,
        )
    else:
        told = {"concept": np.full(len(images), classes[0], np.int32)} if classes else {}
        check_decoding(
            decoding, run.speaker, run.params, images, noise, run.judge, concepts=bool(told)
        )
        spoken = speak_all(
            run.speaker,
            run.params,
            images,
            decoding,
            noise=noise,
            key=key,
            judge=run.judge,
            beside=told,
            batch=_batch(len(images)),
        )
    captions: list[list[tuple[str, float]]] = []
    for words, log_prob in spoken:
        for row, scores in zip(words, log_prob, strict=True):
            texts = [run.vocabulary.decode(w) for w in row]
            captions.append([(text, float(s)) for text, s in zip(texts, scores, strict=True)])
    return captions


def _class(run: Trained, flag: str, name: str) -> int:
    """Which class a name is of."""
    if not run.concepts:
        raise InputError(f"{flag}={name}: the run is told no classes; leave it out")
    return class_named(name, run.concepts, f"{flag}={name}")


def _batch(count: int) -> int:
    """Rounded up to a power of two, so that few programs are compiled."""
    return min(32, 1 << (count - 1).bit_length())


def _encoded(run: Trained, photos: Sequence[Path]) -> np.ndarray:
    """Photos as the run's speaker takes them."""
    name = run.config["data"]["encoder"]
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


def _name(path: Path) -> str:
    """A file's name as text, the same whatever the locale; bytes that are none are surrogates."""
    return os.fsencode(path).decode("utf-8", "surrogateescape")


def _json(row: Mapping[str, Any]) -> str:
    """One line that any reader of JSON takes: what cannot be shown is written as its escapes."""
    line = json.dumps(row, ensure_ascii=False)
    return line if printable(line) else json.dumps(row)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="capjax.caption", description=__doc__)
    parser.add_argument(
        "photos", nargs="+", help="photos, or folders of photos, of which hidden files are none"
    )
    parser.add_argument("--workdir", required=True, help="the folder of a training run")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--greedy", action="store_true", help="the likeliest word at every step")
    how.add_argument("--beam", type=int, metavar="WIDTH", help="beam search (default: the recipe)")
    how.add_argument("--samples", type=int, metavar="N", help="N drawn captions a photo")
    parser.add_argument(
        "--temperature",
        type=float,
        help=f"of the draws (default: the recipe's, if it draws, else {TEMPERATURE}); at 1, as"
        " it was trained, a captioner says more that makes no sense",
    )
    parser.add_argument("--top-p", type=float, help="of the draws: nucleus sampling")
    parser.add_argument(
        "--allow-unknown",
        action="store_true",
        help="say <unk>, the word for all rare ones, where it comes; without, it is never said",
    )
    parser.add_argument(
        "--distractor", nargs="+", default=[], help="photos that each photo is to be told from"
    )
    parser.add_argument(
        "--rationality",
        type=float,
        help="with --distractor or --against, 0 to 1 (default: 0.5): less holds down more of what"
        " fits both",
    )
    parser.add_argument("--concept", default="", help="the class of the photos, of a run told one")
    parser.add_argument("--against", default="", help="a class that they are not of")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    flags = parser.parse_args(argv)
    logging.set_verbosity(logging.FATAL)  # orbax tells every step, and what is raised anyway
    try:
        files = photo_files(flags.photos)
        if flags.beam is not None and flags.beam < 1:
            raise InputError(f"--beam={flags.beam} must be at least 1")
        if flags.rationality is not None and not (flags.distractor or flags.against):
            raise InputError(
                "--rationality has no meaning without --distractor or --against; leave it out"
            )
        if flags.against and not flags.concept:
            raise InputError("--against has no meaning without --concept; name the photo's class")
        rationality = 0.5 if flags.rationality is None else flags.rationality
        with named("--distractor", " ".join(flags.distractor)):
            others = photo_files(flags.distractor)
        check_path("--workdir", flags.workdir, "run")
        with named("--workdir", flags.workdir):
            run = open_run(flags.workdir)
        method = "greedy" if flags.greedy else "beam" if flags.beam is not None else None
        for name in ("temperature", "top_p"):
            if method and (value := getattr(flags, name)) is not None:
                raise InputError(
                    f"--{name.replace('_', '-')}={value} has no meaning for {method}, which draws"
                    " nothing; leave it out, or draw with --samples=N"
                )
        decoding = decoding_of(
            apart_config(run.config) if others else run.config,
            method="sample" if flags.samples is not None else method,
            width=flags.beam,
            samples=flags.samples,
            temperature=flags.temperature,
            top_p=flags.top_p,
            forbid_unknown=not flags.allow_unknown,
        )
        if "temperature" in METHODS[decoding["method"]]:
            own = run.config["decoding"].get("temperature", TEMPERATURE)
            decoding = {"temperature": own} | decoding
        captions = caption_photos(
            run, files, decoding, flags.seed, others, rationality, flags.concept, flags.against
        )
    except InputError as error:
        print(f"capjax: {error}", file=sys.stderr)
        return 2
    for path, spoken in zip(files, captions, strict=True):
        if flags.json:
            rows = [{"caption": text, "log_prob": score} for text, score in spoken]
            print(_json({"photo": _name(path), "captions": rows}))
        else:
            for text, _ in spoken:
                print(f"{path}\t{text}" if len(files) > 1 else text)
    return 0


if __name__ == "__main__":
    command(main)
