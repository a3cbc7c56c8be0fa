"""Damaged files of captions are read or refused in a sentence, in training and in evaluation."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from capjax import evaluate
from capjax.data import caption_files, load
from capjax.data.annotations import read_captions_csv, read_captions_json, read_karpathy
from capjax.data.predictions import read_pair, read_predictions, read_references
from capjax.errors import InputError

pytestmark = pytest.mark.slow
NUMBERS = (391895, 522418, 184613, 318219, 554625, 397133)
WORDS = ("a dog runs", 'two "cats" sleep', "caf\u00e9, a red bike", "snow on hills", "a bus", "x y")
FILES = tuple(f"val2014/COCO_val2014_{number:012d}.jpg" for number in NUMBERS)
SPLITS = ("train", "val", "train", "val", "test", "restval")
SECONDS = 5  # that reading one small file may take


def _lines(rows: list) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _karpathy(*fields: str) -> str:
    images = [
        {
            "filepath": file.partition("/")[0],
            "filename": file.partition("/")[2],
            "split": split,
            "sentences": [{"raw": text, "tokens": text.split(), "sentid": 7}, {"tokens": ["b"]}],
            **dict.fromkeys(fields, number),
        }
        for file, split, number, text in zip(FILES, SPLITS, NUMBERS, WORDS, strict=True)
    ]
    return json.dumps({"dataset": "coco", "images": images})


def _notes(files: bool) -> dict:
    return {
        "info": {"year": 2014, "version": 1.0},
        "licenses": [{"id": 1}],
        "images": [
            {"id": number, **({"file_name": Path(file).name} if files else {})}
            for number, file in zip(NUMBERS, FILES, strict=True)
        ],
        "annotations": [
            {"id": i, "image_id": number, "caption": text}
            for i, (number, text) in enumerate(zip(NUMBERS, WORDS, strict=True))
        ],
    }


# {form: (the name that training finds it by, or another, what it holds)}; NAMED first.
FORMS = {
    "karpathy of coco": ("dataset_coco.json", _karpathy("imgid", "cocoid")),
    "karpathy": ("dataset_flickr8k.json", _karpathy("imgid")),
    "karpathy without ids": ("dataset_flickr30k.json", _karpathy()),
    "folder": (
        "captions.json",
        json.dumps(dict(zip(FILES, ([w, "b"] for w in WORDS), strict=True))),
    ),
    "folder with splits": (
        "captions.json",
        json.dumps(
            {
                file: {"captions": [text], "split": split.replace("rest", "")}
                for file, text, split in zip(FILES, WORDS, SPLITS, strict=True)
            }
        ),
    ),
    "table": (
        "captions.csv",
        "image,caption\r\n"
        + "".join(
            f'{file},"{text.replace(chr(34), 2 * chr(34))}"\r\n'
            for file, text in zip(FILES, WORDS, strict=True)
        ),
    ),
    "table with splits": (
        "captions.csv",
        "\ufeffcaption, split,image\n"
        + "".join(
            f"some words,{split.replace('rest', '')},{file}\n"
            for file, split in zip(FILES, SPLITS, strict=True)
        ),
    ),
    "notes": ("gt.json", json.dumps(_notes(False))),
    "notes with files": ("notes.json", json.dumps(_notes(True), indent=1)),
    "results": (
        "results.json",
        json.dumps(
            [{"image_id": n, "caption": t} for n, t in zip(NUMBERS, WORDS, strict=True)],
            ensure_ascii=False,
        ),
    ),
    "lines": (
        "lines.jsonl",
        _lines([{"id": n, "caption": t} for n, t in zip(NUMBERS, WORDS, strict=True)]),
    ),
    "references": (
        "references.jsonl",
        _lines(
            [{"id": f"{n}", "references": [t, "b"]} for n, t in zip(NUMBERS, WORDS, strict=True)]
        ),
    ),
    "object": ("object.json", json.dumps({n: [t] for n, t in zip(NUMBERS, WORDS, strict=True)})),
    "LAVIS": (
        "lavis.json",
        json.dumps(
            [
                {"image": file, "caption": text, "image_id": f"coco_{number}"}
                for file, text, number in zip(FILES, WORDS, NUMBERS, strict=True)
            ]
        ),
    ),
    "BLIP": (
        "blip.json",
        json.dumps([{"image": f, "caption": [t, "b"]} for f, t in zip(FILES, WORDS, strict=True)]),
    ),
    "capjax.caption": (
        "said.jsonl",
        _lines(
            [
                {"photo": f"/data/{file}", "captions": [{"caption": text, "log_prob": -3.25}]}
                for file, text in zip(FILES, WORDS, strict=True)
            ]
        ),
    ),
}
# What training knows as datasets, and how it reads their files.
TRAINED = {
    "karpathy of coco": ("coco", read_karpathy),
    "karpathy": ("flickr8k", read_karpathy),
    "karpathy without ids": ("flickr30k", read_karpathy),
    "folder": ("folder", read_captions_json),
    "folder with splits": ("folder", read_captions_json),
    "table": ("folder", read_captions_csv),
    "table with splits": ("folder", read_captions_csv),
}

# What stands in the place of a value or a name.
ODD = (
    *(
        b"null",
        b"true",
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"1.0",
        b"-0.0",
        b"01",
        b"[]",
        b"{}",
        b'""',
    ),
    *(
        b'" "',
        b'"\\ud800"',
        b'"\\u0000"',
        b'"\\n"',
        b'"1.jpg"',
        b'"../x.jpg"',
        b'[["a"]]',
        b'{"a": 1}',
    ),
    *(b"9" * 5000, b"9" * 400, b'"' + b"a" * 200_000 + b'"', b"[" * 3000 + b"]" * 3000, b"1e-400"),
    *(b'[{"caption": [{"caption": 1}]}]', b"9007199254740993.0", b'"images"', b'"id"', b'"split"'),
)
VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|\[\]|[^,\r\n]+')


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A file after one to three mishaps."""
    for _ in range(rng.integers(1, 4)):
        size = len(data)
        first, second = sorted(rng.integers(0, size + 1, 2).tolist())
        second = min(second, first + int(rng.integers(1, 120)))
        chunk = data[first:second]
        kind = rng.integers(0, 12)
        if kind == 0:  # bits flip
            spoilt = bytearray(data)
            for at in rng.integers(0, max(size, 1), rng.integers(1, 6)).tolist() if size else ():
                spoilt[at] ^= 1 << int(rng.integers(0, 8))
            data = bytes(spoilt)
        elif kind == 1:  # the end is lost
            data = data[:first]
        elif kind == 2:  # a part is lost
            data = data[:first] + data[second:]
        elif kind == 3:  # a part is there twice, or many times
            data = data[:second] + chunk * int(rng.choice([1, 1, 2, 500])) + data[second:]
        elif kind == 4:  # parts change places
            data = (
                data[:first]
                + data[second : second + len(chunk)]
                + chunk
                + data[second + len(chunk) :]
            )
        elif kind == 5:  # other bytes
            noise = rng.integers(0, 256, max(len(chunk), 1), np.uint8).tobytes()
            data = data[:first] + noise + data[second:]
        elif kind == 6:  # zeros, as of a disk that was full
            data = data[:first] + bytes(len(chunk)) + data[second:]
        elif values := list(VALUE.finditer(data)):  # a value becomes an odd one, or another's
            one, other = (values[i] for i in rng.integers(0, len(values), 2).tolist())
            put = ODD[rng.integers(0, len(ODD))] if kind < 10 else other[0]
            data = data[: one.start()] + put + data[one.end() :]
    return data


ODDITIES = (None, True, 0, 1, -1, 1.0, 0.5, 1e300, float("nan"), 10**30, "", " ", "1", "001", "1.0")
ODDITIES += (
    "...",
    "a\nb",
    "\u2028",
    "\ud800",
    "e\u0301",
    "1.jpg",
    "./1.jpg",
    "/1.jpg",
    "coco_1",
    "x" * 300,
)
ODDITIES += (
    str(NUMBERS[0]),
    FILES[0],
    Path(FILES[0]).name,
    [],
    {},
    [[]],
    [{}],
    ["a", 1],
    {"raw": "a"},
)
KEYS = ("id", "image_id", "img_id", "image", "photo", "file_name", "caption", "captions", "split")
KEYS += (
    "references",
    "cocoid",
    "imgid",
    "filename",
    "filepath",
    "raw",
    "tokens",
    "sentences",
    "info",
)


def reshaped(found: object, rng: np.random.Generator) -> object:
    """A value of JSON, sound but for one place: it, or an entry of it, at any depth, is another."""
    entries = list(found.items() if isinstance(found, dict) else enumerate(found))
    if not entries:
        return ODDITIES[rng.integers(0, len(ODDITIES))]
    key, value = entries[rng.integers(0, len(entries))]
    if isinstance(value, dict | list) and rng.random() < 0.75:
        found[key] = reshaped(value, rng)
        return found
    other = entries[rng.integers(0, len(entries))]
    kind = rng.integers(0, 5)
    if kind < 2:
        found[key] = ODDITIES[rng.integers(0, len(ODDITIES))]
    elif kind == 2:
        del found[key]
    elif kind == 3:  # another's value, and the other way round
        found[key], found[other[0]] = other[1], value
    elif isinstance(found, dict):
        found[KEYS[rng.integers(0, len(KEYS))]] = found.pop(key)
    else:
        found.insert(key, other[1])
    return found


def misshapen(data: bytes, rng: np.random.Generator) -> bytes:
    """A file of JSON, or JSON lines, that another program wrote wrongly."""
    lines = data.decode().splitlines()
    if data[:1] == b"[" or len(lines) == 1 or data[:2] == b"{\n":
        return json.dumps(reshaped(json.loads(data), rng)).encode()
    at = rng.integers(0, len(lines))
    if lines[at][:1] == "{":
        lines[at] = json.dumps(reshaped(json.loads(lines[at]), rng))
    else:  # a table
        cells = lines[at].split(",")
        cells[rng.integers(0, len(cells))] = str(ODDITIES[rng.integers(0, len(ODDITIES))])
        lines[at] = ",".join(cells)
    return "\n".join(lines).encode(errors="surrogatepass")


# Why training refuses what is sound as references: a single image; a text that is in no list.
NOT_TO_TRAIN_ON = ("two are needed", "no list of captions")


def spoilt(count: int, seed: int) -> Iterator[tuple[str, str, bytes]]:
    """(form, name, data) of damaged files, of each form as many."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        form = list(FORMS)[i % len(FORMS)]
        name, text = FORMS[form]
        spoil = misshapen if i // len(FORMS) % 2 else damaged
        yield form, name, spoil(text.encode(), rng)


def outcome(call: Callable) -> tuple[Any, str]:
    """What a call returns, or None and the sentence that it refuses with. All else is a fault."""
    began, sentence, found = time.monotonic(), "", None
    try:
        found = call()
    except InputError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 2000
    assert time.monotonic() - began < SECONDS
    return found, sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Photos, and sound captions and references of them."""
    made = tmp_path_factory.mktemp("captions")
    (made / "val2014").mkdir()
    for file in FILES:
        Image.new("RGB", (8, 8)).save(made / file)
    for name in ("results", "notes with files"):
        (made / FORMS[name][0]).write_text(FORMS[name][1])
    (made / "damaged").mkdir()
    (made / "damaged" / "val2014").symlink_to(made / "val2014")
    return made


def splits_of(form: str) -> tuple[str | None, ...]:
    return ("train", "val", "test") if form.startswith("karpathy") or "splits" in form else (None,)


def test_every_form_is_sound_before_it_is_damaged(folder):
    for form, (name, text) in FORMS.items():
        path = folder / "damaged" / name
        path.write_text(text)
        captions = {}
        for split in splits_of(form):
            captions |= read_references(path, split=split)
        assert len(captions) == len(NUMBERS)
        if form in TRAINED:
            assert len(caption_files.read(TRAINED[form][0], path)) == len(NUMBERS)
        if form == "references":
            continue
        if not form.startswith("karpathy"):
            assert len(read_predictions(path, samples=True)) == len(NUMBERS)
            pairs = read_pair(path, folder / "notes.json")
            assert list(pairs.candidates) == [str(number) for number in NUMBERS]
        path.unlink()


def check(folder: Path, form: str, name: str, data: bytes) -> bool:
    """Reads one damaged file in every way that is meant for it; whether any gave captions."""
    path = folder / "damaged" / name
    path.write_bytes(data)
    sound, truth = folder / "results.json", folder / "notes.json"
    said, _ = outcome(lambda: read_pair(path, truth, subset=True))
    assert said is None or said.candidates.keys() == said.references.keys()
    told = [outcome(lambda: read_references(path, split=s))[0] for s in splits_of(form)]  # noqa: B023
    paired, _ = outcome(lambda: read_pair(sound, path, split=splits_of(form)[-1], subset=True))
    if form in TRAINED:
        dataset, read = TRAINED[form]
        photos, _ = outcome(lambda: caption_files.read(dataset, path))
        found = [texts for references in told if references for texts in references.values()]
        if photos:  # what training takes, evaluation takes
            assert sorted(map(len, found)) == sorted(len(photo.captions) for photo in photos)
        elif found:  # and what it cannot read, neither
            why = outcome(lambda: read(path))[1]
            assert not why or any(words in why for words in NOT_TO_TRAIN_ON), data
    path.unlink()
    return bool(said or paired or any(told))


def test_a_thousand_damaged_files(folder):
    taken = sum(check(folder, *file) for file in spoilt(1000, seed=0))
    assert 50 < taken < 950  # the damage is neither too light nor too heavy to find anything


def test_training_refuses_or_keeps_damaged_files(folder, tmp_path):
    """The whole of what stands before training: read, checked, kept, and read back."""
    files = [file for file in spoilt(160, seed=1) if file[0] in TRAINED]
    for form, name, data in files:
        path = folder / "damaged" / name
        path.write_bytes(data)
        dataset, _ = TRAINED[form]
        photos, _ = outcome(lambda: caption_files.read(dataset, path))  # noqa: B023
        data, _ = outcome(lambda: load(dataset, path, tmp_path))  # noqa: B023
        assert (photos is None) == (data is None)
        if photos:
            kept = [texts for split in data.splits.values() for texts in split.captions]
            assert sorted(kept) == sorted(photo.captions for photo in photos)
        path.unlink()


def test_the_command_scores_damaged_files_or_says_why_not(folder, tmp_path, capsys):
    ends = []
    for form, name, data in spoilt(3 * len(FORMS), seed=2):
        path = folder / "damaged" / name
        path.write_bytes(data)
        split = splits_of(form)[-1]
        for beside in (
            [f"--predictions={path}", f"--references={folder / 'notes.json'}"],
            [f"--predictions={folder / 'results.json'}", f"--references={path}"],
        ):
            flags = [*beside, "--quick", "--subset", f"--out={tmp_path}"]
            capsys.readouterr()
            ends.append(evaluate.main([*flags, f"--split={split}"] if split else flags))
            if ends[-1]:
                said = capsys.readouterr().err
                assert said.startswith("capjax: ")
                assert said.count("\n") == 1
            else:
                scores = json.loads((tmp_path / "scores.json").read_text())
                assert 0 <= scores["cider_d"] <= 10
        path.unlink()
    assert {*ends} == {0, 2}
