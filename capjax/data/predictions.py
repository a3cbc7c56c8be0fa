"""Captions of any captioner and their references, read from the files that people keep them in."""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from capjax.data.caption_rows import checked, gathered, has_words, read_held, rows_of
from capjax.data.image_ids import Named, brief, find, own_names, plain
from capjax.data.reference_files import Images, Truth, is_karpathy, known_of, truth_of
from capjax.errors import InputError

Texts = dict[str, list[str]]  # {id: captions}


class Pairs(NamedTuple):
    """Captions to be scored and their references: the same ids, in the same order."""

    candidates: Texts
    references: Texts
    df_source: str  # what CIDEr-D's document frequencies are of
    notes: tuple[str, ...]  # what a reader of the scores must know; sentences


def read_predictions(path: str | Path, *, samples: bool = False) -> Texts:
    """The captions of a file: {id: [caption, ...]}, ids as text.

    JSON lines {"id" or "image_id": ..., "caption": text}, or what `capjax.caption --json` writes; a
    JSON list of such rows, as COCO's results are and LAVIS', whose "image" is a file; COCO's
    annotations; a JSON object {id: caption} or {id: [caption, ...]}; a folder's captions.json or
    captions.csv. COCO's names are its numbers (`image_ids`). samples: whether an image may have
    several captions, which are then samples, as many of every image. Captions may be empty. Raises
    InputError, in one sentence with file and row, where anything is not as it should be.
    """
    images = _read_captions(Path(path), samples)
    names = plain([image.name for image, _ in images])
    return {name: texts for name, (_, texts) in zip(names, images, strict=True)}


def read_references(path: str | Path, *, split: str | None = None) -> Texts:
    """The references of a file: {id: [reference, ...]}, ids as text.

    COCO's annotations; a dataset_*.json of Karpathy's, of which `split` names the part that is
    wanted; JSON lines {"id" or "image_id": ..., "references": [text, ...]}, or "caption": text once
    for each reference; a JSON list of such rows, as BLIP's and LAVIS' annotations are, whose
    "image" is a file, or TextCaps' {"data": rows}; a JSON object {id: [reference, ...]}; a folder's
    captions.json or captions.csv, whose splits are those that training takes; Kaggle's tables of
    Flickr8k and Flickr30k; or Flickr8k.token.txt. Every reference must hold a word. Raises
    InputError, in one sentence with file and row, where anything is not as it should be.
    """
    truth = truth_of(Path(path), split)
    if truth.bare:
        raise InputError(_bare(path, truth.bare))
    names = own_names([*truth.called, *truth.others], Path(path))[: len(truth.references)]
    return {name: texts for name, (_, texts) in zip(names, truth.references, strict=True)}


def read_known(path: str | Path, *, by_name: bool = False) -> set[str]:
    """The captions that training has seen: split train of a file that has splits, else all of it.

    Files are as of `read_references`. by_name: whether a file that names no splits is split as
    training splits it, by the names of its images.
    """
    return {text for _, texts in known_of(Path(path), by_name) for text in texts}


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Many rows and no circles among them: looking for these would take half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_uncollected()
def read_pair(
    predictions: str | Path,
    references: str | Path,
    *,
    split: str | None = None,
    subset: bool = False,
    ids: str | None = None,
) -> Pairs:
    """A file of captions and one of references, as `pair` puts them together.

    Images may have several captions. Which image a name means is for `image_ids.find` to say, as is
    what `ids` decides; images are called as the references call them, whatever the captions do.
    Raises InputError as the readers and `pair` do.
    """
    captions = _read_captions(Path(predictions), True)
    truth = truth_of(Path(references), split)
    images = [named for named, _ in captions]
    # Other splits' images are looked at, too: a name that may be one of them is not sure.
    known, count = [*truth.called, *truth.others, *truth.bare], len(truth.references)
    places = find(images, known, str(predictions), ids)
    taken = [place for place in places if place is not None and place < count]
    if len(taken) < len(places):
        raise InputError(_no_references(references, truth, images, places, ids))
    names = own_names(known, Path(references))
    pairs = _side_by_side(
        {names[place]: texts for place, (_, texts) in zip(taken, captions, strict=True)},
        {names[place]: truth.references[place][1] for place in taken},
        [names[place] for place in sorted(set(range(count)) - set(taken))],
        subset,
    )
    if not truth.bare:
        return pairs
    note = f"Without an annotation, and not scored: {_few([named.name for named in truth.bare])}."
    return pairs._replace(notes=(*pairs.notes, note))


def _read_captions(path: Path, samples: bool) -> Images:
    """The captions of a file that has as many of every image."""
    held = read_held(path)
    if is_karpathy(held.content):
        raise InputError(
            f"{path} is one of Karpathy's dataset_*.json, which hold references; give captions"
        )
    images: Images = [
        (image, [text for row in rows for text in checked(row.texts, row.where)])
        for image, rows in gathered(path, rows_of(path, ("caption", "captions"), held))
    ]
    if not images:
        raise InputError(f"{path} holds no captions; is it the right file?")
    first, several = images[0]
    for image, texts in images:
        name = brief(image.name)
        if len(texts) != 1 and not samples:
            raise InputError(
                f"{path}: image {name} has {len(texts)} captions; give one, or say that "
                "several are samples"
            )
        if not texts or len(texts) != len(several):
            raise InputError(
                f"{path}: image {name} has {len(texts)} captions and image {brief(first.name)} has "
                f"{len(several)}; give every image as many, or is an id there twice?"
            )
    return images


def _no_references(
    path: str | Path,
    truth: Truth,
    images: Sequence[Named],
    places: Sequence[int | None],
    ids: str | None,
) -> str:
    """Why there are no references for some captions, and what to do."""
    called, count = truth.called, len(truth.called)
    alone = [n for n, place in enumerate(places) if place is None or place >= count]
    lack = f"there are captions and no references for {_few([images[n].name for n in alone])}; "
    place = places[alone[0]]
    if place is None:
        unknown = [images[n] for n in alone if places[n] is None]
        return (
            f"{lack}give the references of the same images, which {path} calls "
            f"{_calling(called[0])}{_hint(unknown, called, ids)}"
        )
    if place >= count + len(truth.others):
        return _bare(path, [truth.bare[place - count - len(truth.others)]])
    home = truth.homes[place - count]
    by_name = ", by its name as in training, as the file names no splits" if truth.by_name else ""
    return (
        f"{lack}{path} has {brief(images[alone[0]].name)} in split {home}{by_name}; leave it out, "
        f"or ask for that split with --split={home}"
    )


def _bare(path: str | Path, bare: Sequence[Named]) -> str:
    return f"{path}: image {brief(bare[0].name)} has no annotation; write one or remove it"


def _calling(named: Named) -> str:
    """An example of what a file calls its images."""
    return " and ".join(brief(name) for name in (named.id, named.file) if name is not None)


def _hint(alone: Sequence[Named], called: Sequence[Named], ids: str | None) -> str:
    """That names would be found were they files' names, where they would."""
    if ids is not None:
        return ""
    try:
        by_file = any(place is not None for place in find(alone, called, "", "file"))
    except InputError:
        by_file = True
    return ", or say with --ids=file that both are names of files" if by_file else ""


def pair(candidates: Texts, references: Texts, *, subset: bool = False) -> Pairs:
    """Captions and their references side by side, in the order of the captions.

    subset: whether images may have references and no caption; they are then left out, the notes say
    so, and CIDEr-D's document frequencies are of the others. Raises InputError, naming the first
    few, where an id is in one and not in the other.
    """
    alone = [name for name in candidates if name not in references]
    if alone:
        raise InputError(
            f"there are captions and no references for {_few(alone)}; "
            "give the references of the same images"
        )
    left_out = [name for name in references if name not in candidates]
    kept = {name: references[name] for name in candidates}
    return _side_by_side(candidates, kept, left_out, subset)


def _side_by_side(candidates: Texts, kept: Texts, left_out: list[str], subset: bool) -> Pairs:
    """Captions, the references of the same images, and the names of those without a caption."""
    if left_out and not subset:
        raise InputError(
            f"there are references and no caption for {_few(left_out)}; caption them, or ask for "
            "the subset that has captions (--subset), whose CIDEr-D has other document frequencies"
        )
    empty = [name for name, texts in candidates.items() if not all(map(has_words, texts))]
    notes, count = [], len(kept) + len(left_out)
    if left_out:
        notes.append(
            f"Only the {len(kept)} of {count} images that have captions are scored; "
            "CIDEr-D's document frequencies are of their references only."
        )
    if empty:
        notes.append(f"A caption without words is scored as it is: {_few(empty)}.")
    source = f"references of {len(kept)} of {count} images" if left_out else "references"
    return Pairs(candidates, kept, f"these {source}", tuple(notes))


def _few(names: list[str]) -> str:
    """The first few of some images, and how many there are."""
    some = ", ".join(map(brief, names[:3])) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} ({some})"
