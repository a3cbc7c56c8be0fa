"""The references of images, read from the files that people keep them in."""

from pathlib import Path
from typing import Any

from capjax.data.annotations import Photo, read_captions_csv, read_captions_json, read_karpathy
from capjax.data.caption_rows import checked, gathered, rows_of, whole_file
from capjax.data.image_ids import Named, brief, id_text, is_file
from capjax.errors import InputError

Images = list[tuple[Named, list[str]]]  # each with its captions


def truth_of(path: Path, split: str | None) -> tuple[Images, list[Named]]:
    """The references of a file, of one split where it has splits, and the images of the others."""
    table = path.suffix.lower() == ".csv"
    found = None if table or path.suffix == ".jsonl" else whole_file(path)
    if isinstance(found, dict) and is_karpathy(found):
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
            f"{path} has the splits {brief(', '.join(splits))}; ask for one with --split"
        )
    references: Images = []
    for image, those in gathered(path, rows):
        if len(those) > 1 and any(isinstance(row.texts, list) for row in those):
            raise InputError(
                f"{those[1].where} is image {brief(image.name)} once more; join its references"
            )
        texts = [text for row in those for text in checked(row.texts, row.where, wordless=False)]
        if not texts:
            raise InputError(
                f"{path}: image {brief(image.name)} has no references; write one or remove it"
            )
        references.append((image, texts))
    if isinstance(found, dict) and isinstance(found.get("annotations"), list):
        noted = {image.id for image, _ in references}
        for listed in found.get("images") or ():
            if (name := id_text(listed["id"], str(path), "id")) not in noted:
                raise InputError(
                    f"{path}: image {brief(name)} has no annotation; write one or remove it"
                )
    if not references:
        raise InputError(f"{path} holds no references; is it the right file?")
    return references, []


def _of_folder(found: Any) -> bool:
    """Whether an object is a folder's captions.json, whose names are photos' files."""
    return isinstance(found, dict) and all(
        is_file(name) or isinstance(value, dict) for name, value in found.items()
    )


def _of_split(path: Path, photos: list[Photo], split: str | None) -> tuple[Images, list[Named]]:
    """As `truth_of`; a photo that has no id but its file's name is called by that alone."""
    splits = sorted({photo.split for photo in photos})
    if split not in splits:
        raise InputError(f"{path} has the splits {', '.join(splits)}; ask for one, not {split!r}")
    references: Images = []
    others: list[Named] = []
    seen: set[str] = set()
    for photo in photos:
        if photo.id in seen:
            raise InputError(f"{path} has image {brief(photo.id)} twice; join the two entries")
        seen.add(photo.id)
        named = Named(None if photo.id == photo.file else photo.id, photo.file)
        if photo.split == split:
            references.append((named, list(photo.captions)))
        else:
            others.append(named)
    return references, others


def is_karpathy(found: dict[str, Any]) -> bool:
    """Whether a file is one of Karpathy's."""
    images = found.get("images")
    return isinstance(images, list) and any(
        isinstance(image, dict) and "sentences" in image for image in images
    )
