"""Which data are a run's? Its dataset by what it holds and by where it lay: `data.json`."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from capjax.data.batches import caption_arrays
from capjax.data.contents import of_texts
from capjax.data.feature_files import PREFIX
from capjax.data.prepare import Prepared
from capjax.data.vocabulary import Vocabulary
from capjax.errors import InputError
from capjax.files.whole import read_json, write_json
from capjax.run.checkpoint import Checkpoints
from capjax.run.folder import read_config, saved
from capjax.run.recipe import Data

NAME = "data.json"


def write_data(workdir: Path, data: Data, prepared: Prepared) -> None:
    """Writes what the data of a run are, and where they lie."""
    splits = {
        name: {"images": len(split.ids), **_digests(prepared, name)}
        for name, split in prepared.splits.items()
    }
    place = {"name": data.name, "path": data.path, "encoder": data.encoder}
    write_json(workdir / NAME, place | {"splits": splits})


def _digests(prepared: Prepared, split: str) -> dict[str, str]:
    contents = prepared.contents[split]
    digests = {"captions": contents.captions, "photos": contents.images}
    return digests | ({"features": contents.features} if contents.features else {})


def notes_features(workdir: Path) -> bool:
    """Whether a run tells what the features of a user's hold that it was trained on."""
    return bool(_features(workdir))


def same_features(workdir: Path, other: Path | Prepared) -> bool:
    """Whether a run was trained on the very features of another, or of a dataset's training split.

    They may lie anywhere; a run that does not tell what they hold is as no other.
    """
    mine = _features(workdir)
    theirs = other.contents["train"].features if isinstance(other, Prepared) else _features(other)
    return bool(mine) and mine == theirs


def _features(workdir: Path) -> str:
    try:
        return str(read_json(workdir / NAME)["splits"]["train"].get("features", ""))
    except (InputError, KeyError, TypeError, AttributeError):
        return ""


def free_settings(workdir: Path, data: Data) -> tuple[str, ...]:
    """Settings of a run that may be others, as what its data hold is compared.

    Features of a user's may have moved.
    """
    if not (saved(workdir) and data.encoder.startswith(PREFIX)):
        return ()
    theirs = str(read_config(workdir)["data"].get("encoder", ""))
    return ("data.encoder",) if theirs.startswith(PREFIX) and notes_features(workdir) else ()


def differences(
    workdir: Path, prepared: Prepared, vocabulary: Vocabulary, max_len: int, parts: Collection[str]
) -> list[str] | None:
    """In what data are not those that a run was trained on.

    A run of a version that wrote no `data.json` is known by its captions alone: of training by what
    its last checkpoint notes, of other splits by what it was evaluated on.

    Args:
      vocabulary, max_len: the run's.
      parts: what to look at, such as "val", or "train captions"; a split that the run did not have
        is told, too.
    Returns:
      Such as ["val captions"]; none where they are the same; None where the run does not tell.
    """
    if not (workdir / NAME).exists():
        return _differences_of_old(workdir, prepared, vocabulary, max_len, parts)
    note = read_json(workdir / NAME)
    splits = note.get("splits") if isinstance(note, dict) else None
    if not isinstance(splits, dict) or not all(isinstance(s, dict) for s in splits.values()):
        raise InputError(f"{workdir / NAME} does not tell the data of the run; restore it")
    differ = []
    for part in parts:
        split, _, what = part.partition(" ")
        now = _digests(prepared, split) if split in prepared.splits else {}
        was = splits.get(split, {})
        names = [what] if what else ["captions", "photos"]
        if not what and prepared.images:  # else no features have been read yet
            names.append("features")
        differ += [f"{split} {name}" for name in names if was.get(name) != now.get(name)]
    return differ


def _differences_of_old(
    workdir: Path, prepared: Prepared, vocabulary: Vocabulary, max_len: int, parts: Collection[str]
) -> list[str] | None:
    if (wanted := _captions_of(workdir)) is None:
        return None
    arrays = caption_arrays(prepared.splits["train"], vocabulary, max_len)
    differ = []
    if captions_sum(arrays) != wanted:
        differ.append("train captions")
    for split, mark in (("val", ""), ("test", "-test")):
        written = workdir / f"captions{mark}.json"
        if split in parts and split in prepared.splits and written.is_file():
            texts = {row["id"]: row["references"] for row in read_json(written)}
            if of_texts(texts) != prepared.contents[split].captions:
                differ.append(f"{split} captions")
    return differ


def _captions_of(workdir: Path) -> int | None:
    """What the newest checkpoint notes of the training captions; None where there is none."""
    folder = workdir / "checkpoints" / "last"
    if not folder.is_dir():
        return None
    last = Checkpoints(folder, keep=None)
    try:
        found = last.restore(lambda note: None)
    except InputError:
        return None
    finally:
        last.close()
    return found[2].get("captions") if found else None


def captions_sum(arrays: Mapping[str, Any]) -> int:
    """A sum by which the checkpoints of a run know its training captions; of `caption_arrays`."""
    return zlib.crc32(np.asarray(arrays["caption"]).tobytes())


def check_training_data(
    workdir: Path, data: Data, prepared: Prepared, vocabulary: Vocabulary
) -> None:
    """Raises InputError where a run would go on with other data than it began with."""
    parts = list(prepared.splits)
    if (workdir / NAME).exists() and isinstance(note := read_json(workdir / NAME), dict):
        parts = list(dict.fromkeys([*parts, *note.get("splits", {})]))
    differ = differences(workdir, prepared, vocabulary, data.max_len, parts)
    if differ:
        seen = all(part.endswith(" features") for part in differ)
        flag = f"encoder={PREFIX}DIR" if seen else "path"
        raise InputError(
            f"{in_words(differ, data)}{_or_words(workdir)} are"
            f" not those that the run in {workdir} was trained on; restore them, name theirs with"
            f" --config.data.{flag}, or choose another --workdir{_or_rows(workdir)}"
        )


def in_words(differ: Sequence[str], data: Data) -> str:
    """What `differences` found in words, such as "the captions of coco in DIR (train captions)"."""
    kinds = dict.fromkeys(part.partition(" ")[2] for part in differ)
    place = f" in {data.path}" if data.path else ""
    return f"the {' and '.join(kinds)} of {data.name}{place} ({', '.join(differ)})"


def _or_rows(workdir: Path) -> str:
    if (workdir / NAME).exists():
        return ""
    return f" (if {workdir}/captions*.json are of an evaluation on other data, remove them)"


def _or_words(workdir: Path) -> str:
    """A run that is known by its encoded captions is known by its words, too."""
    return "" if (workdir / NAME).exists() else f", or {workdir}/vocabulary.json,"
