"""Captions of any captioner and their references, read from the files that people keep them in."""

from pathlib import Path
from typing import Any, NamedTuple

from capjax.data.annotations import read_karpathy
from capjax.data.caption_rows import image_name, rows_in, rows_of, whole_file
from capjax.data.tokens import tokenize
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

    JSON lines {"id" or "image_id": ..., "caption": text}; a JSON list of such rows, as COCO's
    results are; or a JSON object {id: caption} or {id: [caption, ...]}. samples: whether an image
    may have several captions, which are then samples, as many of every image. Captions may be
    empty. Raises InputError, in one sentence with file and row, where anything is not as it should
    be.
    """
    path = Path(path)
    captions: Texts = {}
    for where, name, texts in rows_of(path, ("caption", "captions")):
        captions.setdefault(name, []).extend(_checked(texts, where))
    if not captions:
        raise InputError(f"{path} holds no captions; is it the right file?")
    first = next(iter(captions))
    for name, texts in captions.items():
        if len(texts) != 1 and not samples:
            raise InputError(
                f"{path}: image {name} has {len(texts)} captions; give one, or say that "
                "several are samples"
            )
        if len(texts) != len(captions[first]):
            raise InputError(
                f"{path}: image {name} has {len(texts)} captions and image {first} has "
                f"{len(captions[first])}; give every image as many, or is an id there twice?"
            )
    return captions


def read_references(path: str | Path, *, split: str | None = None, by_file: bool = False) -> Texts:
    """The references of a file: {id: [reference, ...]}, ids as text.

    COCO's annotations; a dataset_*.json of Karpathy's, of which `split` names the part that is
    wanted; JSON lines {"id" or "image_id": ..., "references": [text, ...]}, or "caption": text once
    for each reference; a JSON list of such rows; or a JSON object {id: [reference, ...]}. Every
    reference must hold a word. Raises InputError, in one sentence with file and row, where anything
    is not as it should be. by_file: whether Karpathy's images are called by their files' names and
    not by their ids.
    """
    path = Path(path)
    found = None if path.suffix == ".jsonl" else whole_file(path)
    if isinstance(found, dict) and _sentences(found):
        return _karpathy(path, split, by_file)
    if split is not None:
        raise InputError(
            f"{path} is not one of Karpathy's dataset_*.json and has no split {split!r}; ask for "
            "none"
        )
    references: Texts = {}
    whole: set[str] = set()  # images whose references were given in one list
    if isinstance(found, dict) and isinstance(found.get("annotations"), list):
        rows = rows_in(path, found["annotations"], ("caption",))
    else:
        rows = rows_of(path, ("references", "caption", "captions"), found)
    for where, name, texts in rows:
        if name in whole or (isinstance(texts, list) and name in references):
            raise InputError(f"{where} is image {name} once more; join its references")
        if isinstance(texts, list):
            whole.add(name)
        references.setdefault(name, []).extend(_checked(texts, where, wordless=False))
    if isinstance(found, dict) and isinstance(found.get("images"), list):
        for number, image in enumerate(found["images"]):
            name = image_name(image, f"{path}: image {number}", ("id",))
            if name not in references:
                raise InputError(f"{path}: image {name} has no annotation; write one or remove it")
    for name, texts in references.items():
        if not texts:
            raise InputError(f"{path}: image {name} has no references; write one or remove it")
    if not references:
        raise InputError(f"{path} holds no references; is it the right file?")
    return references


def read_pair(
    predictions: str | Path,
    references: str | Path,
    *,
    split: str | None = None,
    subset: bool = False,
) -> Pairs:
    """A file of captions and one of references, as `pair` puts them together.

    Images may have several captions. Those of a split of Karpathy's may be called by their files.
    """
    candidates = read_predictions(predictions, samples=True)
    truth = read_references(references, split=split)
    if split is not None and not candidates.keys() & truth.keys():
        by_file = read_references(references, split=split, by_file=True)
        truth = by_file if candidates.keys() & by_file.keys() else truth
    return pair(candidates, truth, subset=subset)


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
    if left_out and not subset:
        raise InputError(
            f"there are references and no caption for {_few(left_out)}; caption them, or ask for "
            "the subset that has captions (--subset), whose CIDEr-D has other document frequencies"
        )
    kept = {name: references[name] for name in candidates}
    empty = [name for name, texts in candidates.items() if not all(map(_has_words, texts))]
    notes = []
    if left_out:
        notes.append(
            f"Only the {len(kept)} of {len(references)} images that have captions are scored; "
            "CIDEr-D's document frequencies are of their references only."
        )
    if empty:
        notes.append(f"A caption without words is scored as it is: {_few(empty)}.")
    source = f"references of {len(kept)} of {len(references)} images" if left_out else "references"
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
    return bool(tokenize(text))


def _sentences(found: dict[str, Any]) -> bool:
    """Whether a file is one of Karpathy's."""
    images = found.get("images")
    return isinstance(images, list) and any(
        isinstance(image, dict) and "sentences" in image for image in images
    )


def _karpathy(path: Path, split: str | None, by_file: bool) -> Texts:
    photos = read_karpathy(path)
    splits = sorted({photo.split for photo in photos})
    if split not in splits:
        raise InputError(f"{path} has the splits {', '.join(splits)}; ask for one, not {split!r}")
    references: Texts = {}
    for photo in photos:
        if photo.split == split:
            called = Path(photo.file).name if by_file else photo.id
            name = image_name({"id": called}, str(path), ("id",))
            if name in references:
                raise InputError(f"{path} has image {name} twice; join the two entries")
            references[name] = list(photo.captions)
    return references


def _few(names: list[str]) -> str:
    """The first few of some images, and how many there are."""
    some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {'image' if len(names) == 1 else 'images'} ({some})"
