"""Captions of any captioner and their references, read from the files that people keep them in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.annotations import Photo, read_captions_csv, read_captions_json, read_karpathy
from capjax.data.caption_rows import gathered, rows_of, whole_file
from capjax.data.image_ids import Named, find, id_text, is_file, shown
from capjax.data.tokens import tokenize
from capjax.errors import InputError

Texts = dict[str, list[str]]  # {id: captions}
Images = list[tuple[Named, list[str]]]  # each with its captions


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
    return _by_label(_said(Path(path), samples))


def read_references(path: str | Path, *, split: str | None = None) -> Texts:
    """The references of a file: {id: [reference, ...]}, ids as text.

    COCO's annotations; a dataset_*.json of Karpathy's, of which `split` names the part that is
    wanted; JSON lines {"id" or "image_id": ..., "references": [text, ...]}, or "caption": text once
    for each reference; a JSON list of such rows, as BLIP's and LAVIS' annotations are, whose
    "image" is a file; a JSON object {id: [reference, ...]}; or a folder's captions.json or
    captions.csv, whose splits are those that training takes. Every reference must hold a word.
    Raises InputError, in one sentence with file and row, where anything is not as it should be.
    """
    return _by_label(_truth(Path(path), split))


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
    what `ids` decides. Raises InputError as the readers and `pair` do.
    """
    said, truth = _said(Path(predictions), True), _truth(Path(references), split)
    calls, called = [named for named, _ in said], [named for named, _ in truth]
    places = find(calls, called, str(predictions), ids)
    alone = [named for named, place in zip(calls, places, strict=True) if place is None]
    if alone:
        raise InputError(
            f"there are captions and no references for {_few([named.name for named in alone])}; "
            f"give the references of the same images, which {references} calls "
            f"{_calling(called[0])}{_hint(alone, called, ids)}"
        )
    names = [
        _key(named, called[place])
        for named, place in zip(calls, places, strict=True)
        if place is not None
    ]
    if len(set(names)) < len(names):
        names = [named.name for named in calls]
    taken = set(places)
    return _side_by_side(
        {name: texts for name, (_, texts) in zip(names, said, strict=True)},
        {
            name: truth[place][1]
            for name, place in zip(names, places, strict=True)
            if place is not None
        },
        [named.name for i, named in enumerate(called) if i not in taken],
        subset,
    )


def _said(path: Path, samples: bool) -> Images:
    """The captions of a file that has as many of every image."""
    found = None if path.suffix.lower() in (".jsonl", ".csv") else whole_file(path)
    if isinstance(found, dict) and _sentences(found):
        raise InputError(
            f"{path} is one of Karpathy's dataset_*.json, which hold references; give captions"
        )
    images: Images = [
        (image, [text for row in rows for text in _checked(row.texts, row.where)])
        for image, rows in gathered(path, rows_of(path, ("caption", "captions"), found))
    ]
    if not images:
        raise InputError(f"{path} holds no captions; is it the right file?")
    first, several = images[0]
    for image, texts in images:
        name = shown(image.name)
        if len(texts) != 1 and not samples:
            raise InputError(
                f"{path}: image {name} has {len(texts)} captions; give one, or say that "
                "several are samples"
            )
        if not texts or len(texts) != len(several):
            raise InputError(
                f"{path}: image {name} has {len(texts)} captions and image {shown(first.name)} has "
                f"{len(several)}; give every image as many, or is an id there twice?"
            )
    return images


def _truth(path: Path, split: str | None) -> Images:
    """The references of a file, of one split where it has splits."""
    table = path.suffix.lower() == ".csv"
    found = None if table or path.suffix == ".jsonl" else whole_file(path)
    if isinstance(found, dict) and _sentences(found):
        return _of_split(path, read_karpathy(path), split)
    rows = rows_of(path, ("references", "caption", "captions"), found)
    if split is not None and rows and (table or _of_folder(found)):
        return _of_split(
            path, read_captions_csv(path) if table else read_captions_json(path), split
        )
    if split is not None:
        raise InputError(
            f"{path} is not one of Karpathy's dataset_*.json and has no split {split!r}; ask for "
            "none"
        )
    splits = sorted({str(row.split) for row in rows if row.split not in (None, "")})
    if splits:
        raise InputError(
            f"{path} has the splits {shown(', '.join(splits))}; ask for one with --split"
        )
    references: Images = []
    for image, those in gathered(path, rows):
        if len(those) > 1 and any(isinstance(row.texts, list) for row in those):
            raise InputError(
                f"{those[1].where} is image {shown(image.name)} once more; join its references"
            )
        texts = [text for row in those for text in _checked(row.texts, row.where, wordless=False)]
        if not texts:
            raise InputError(
                f"{path}: image {shown(image.name)} has no references; write one or remove it"
            )
        references.append((image, texts))
    if isinstance(found, dict) and isinstance(found.get("annotations"), list):
        noted = {image.id for image, _ in references}
        for listed in found.get("images") or ():
            if (name := id_text(listed["id"], str(path), "id")) not in noted:
                raise InputError(
                    f"{path}: image {shown(name)} has no annotation; write one or remove it"
                )
    if not references:
        raise InputError(f"{path} holds no references; is it the right file?")
    return references


def _of_folder(found: Any) -> bool:
    """Whether an object is a folder's captions.json, whose names are photos' files."""
    return isinstance(found, dict) and all(
        is_file(name) or isinstance(value, dict) for name, value in found.items()
    )


def _of_split(path: Path, photos: list[Photo], split: str | None) -> Images:
    """The photos of a split; a photo that has no id but its file's name is called by that alone."""
    splits = sorted({photo.split for photo in photos})
    if split not in splits:
        raise InputError(f"{path} has the splits {', '.join(splits)}; ask for one, not {split!r}")
    references: Images = []
    seen: set[str] = set()
    for photo in photos:
        if photo.split == split:
            if photo.id in seen:
                raise InputError(f"{path} has image {shown(photo.id)} twice; join the two entries")
            seen.add(photo.id)
            named = Named(None if photo.id == photo.file else photo.id, photo.file)
            references.append((named, list(photo.captions)))
    return references


def _by_label(images: Images) -> Texts:
    """Captions under the names that scores are kept under."""
    labels = [image.label for image, _ in images]
    if len(set(labels)) < len(labels):
        labels = [image.name for image, _ in images]
    return {label: texts for label, (_, texts) in zip(labels, images, strict=True)}


def _key(named: Named, true: Named) -> str:
    """What a pair is called: as the captions call it, or COCO's number where that is its id."""
    if named.label == true.label:
        return named.label
    return named.name if named.id is not None else true.file or true.name


def _calling(named: Named) -> str:
    """An example of what a file calls its images."""
    return " and ".join(shown(name) for name in (named.id, named.file) if name is not None)


def _hint(alone: Sequence[Named], called: Sequence[Named], ids: str | None) -> str:
    """That names would be found were they files' names, where they would."""
    if ids is not None:
        return ""
    try:
        found = any(place is not None for place in find(alone, called, "", "file"))
    except InputError:
        found = True
    return ", or say with --ids=file that both are names of files" if found else ""


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
    empty = [name for name, texts in candidates.items() if not all(map(_has_words, texts))]
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


def _checked(texts: Any, where: str, *, wordless: bool = True) -> list[str]:
    """One text or several as a list; wordless: whether they may be without words."""
    texts = texts if isinstance(texts, list) else [texts]
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{where} has the caption {text!r}, which is not text; write a text")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{where} holds half a character (a lone surrogate); retype it"
            ) from error
        if not wordless and not _has_words(text):
            raise InputError(f"{where} has the reference {text!r} without words; remove it")
    return texts


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text)) or bool(tokenize(text))


def _sentences(found: dict[str, Any]) -> bool:
    """Whether a file is one of Karpathy's."""
    images = found.get("images")
    return isinstance(images, list) and any(
        isinstance(image, dict) and "sentences" in image for image in images
    )


def _few(names: list[str]) -> str:
    """The first few of some images, and how many there are."""
    some = ", ".join(map(shown, names[:3])) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} ({some})"
