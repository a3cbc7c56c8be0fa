"""A name means one image or is refused: captions are paired with their own image's references."""

import csv
import io
import json
import os
import unicodedata
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from capjax import evaluate
from capjax.data.image_ids import Named, coco_number, find
from capjax.data.predictions import read_pair, read_references
from capjax.data.split_by_name import split_by_name
from capjax.errors import InputError


class Image(NamedTuple):
    id: object
    file: str
    caption: str


def lines(rows: list) -> str:
    return "\n".join(json.dumps(row) for row in rows)


def table(rows: list) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def karpathy(images: list[Image], **ids: str) -> str:
    rows = [
        {
            "filename": i.file,
            "split": "val",
            "sentences": [{"raw": i.caption}],
            **dict.fromkeys(ids, i.id),
        }
        for i in images
    ]
    return json.dumps({"images": rows})


def notes(images: list[Image], files: bool) -> str:
    return json.dumps(
        {
            "info": {"description": "captions"},
            "images": [{"id": i.id} | ({"file_name": i.file} if files else {}) for i in images],
            "annotations": [
                {"id": n, "image_id": i.id, "caption": i.caption} for n, i in enumerate(images)
            ],
        }
    )


# {form: (how it is written, the file's ending, what it tells of an image, its split)}
FORMS = {
    "lines": (lambda s: lines([{"id": i.id, "caption": i.caption} for i in s]), "jsonl", "id"),
    "list": (
        lambda s: json.dumps([{"image_id": i.id, "caption": i.caption} for i in s]),
        "json",
        "id",
    ),
    "object": (lambda s: json.dumps({str(i.id): [i.caption] for i in s}), "json", "id"),
    "notes": (lambda s: notes(s, False), "json", "id"),
    "notes with files": (lambda s: notes(s, True), "json", "id file"),
    "list of files": (
        lambda s: json.dumps([{"image_id": i.file, "caption": i.caption} for i in s]),
        "json",
        "file",
    ),
    "object of files": (lambda s: json.dumps({i.file: [i.caption] for i in s}), "json", "file"),
    "folder": (
        lambda s: json.dumps({i.file: {"captions": [i.caption]} for i in s}),
        "json",
        "file",
    ),
    "table": (
        lambda s: table([("image", "caption"), *((i.file, i.caption) for i in s)]),
        "csv",
        "file",
    ),
    "LAVIS": (
        lambda s: json.dumps(
            [{"image": i.file, "caption": i.caption, "image_id": i.id} for i in s]
        ),
        "json",
        "id file",
    ),
    "BLIP": (
        lambda s: json.dumps([{"image": i.file, "caption": [i.caption]} for i in s]),
        "json",
        "file",
    ),
}
REFERENCES = FORMS | {
    "references": (
        lambda s: lines([{"id": i.id, "references": [i.caption]} for i in s]),
        "jsonl",
        "id",
    ),
    "karpathy": (lambda s: karpathy(s, imgid=""), "json", "id file"),
    "karpathy of coco": (lambda s: karpathy(s, cocoid=""), "json", "id file"),
    "karpathy without ids": (karpathy, "json", "file"),
}
PREDICTIONS = FORMS | {
    "capjax.caption": (
        lambda s: lines(
            [
                {
                    "photo": f"/data/photos/{i.file}",
                    "captions": [{"caption": i.caption, "log_prob": -1.5}],
                }
                for i in s
            ]
        ),
        "jsonl",
        "file",
    ),
}

# Ids and names of files that look like one another.
NUMBERS = st.integers(0, 9)
IDS = st.one_of(
    NUMBERS, NUMBERS.map(str), NUMBERS.map("00{}".format), st.sampled_from(["a", "b", "b "])
)
COUNTED = NUMBERS.map("{:012d}".format)
STEMS = st.one_of(NUMBERS.map(str), NUMBERS.map("00{}".format), st.sampled_from(["a", "caf\u00e9"]))
FILES = st.tuples(
    st.sampled_from(["", "a/", "a/b/", "1/"]), STEMS, st.sampled_from([".jpg", ".JPG", ".png"])
).map("".join)


def images_of(ids: st.SearchStrategy, files: st.SearchStrategy) -> st.SearchStrategy:
    """Images whose ids and names of files have nothing to do with one another."""
    both = st.lists(st.tuples(ids, files), min_size=2, max_size=6)
    return both.map(
        lambda found: [
            Image(name, file, f"caption number {n}") for n, (name, file) in enumerate(found)
        ]
    ).filter(lambda s: len({str(i.id) for i in s}) == len({i.file for i in s}) == len(s))


PLAIN = images_of(st.one_of(IDS, COUNTED), FILES)
COCO = st.lists(st.integers(0, 10**6), min_size=2, max_size=6, unique=True).map(
    lambda numbers: [
        Image(n, f"val2014/COCO_val2014_{n:012d}.jpg", f"caption number {n}") for n in numbers
    ]
)
# COCO's files under ids of somebody's own.
OWN = images_of(NUMBERS, NUMBERS.map("COCO_val2014_{:012d}.jpg".format))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


def paired(folder: Path, said: str, truth: str, some: list, every: list, **how) -> bool:
    """Whether captions are taken; they are then each beside its own, which is asserted."""
    write, ending, _ = PREDICTIONS[said]
    predictions = folder / f"predictions.{ending}"
    predictions.write_text(write(some), encoding="utf-8")
    write, ending, _ = REFERENCES[truth]
    references = folder / f"references.{ending}"
    references.write_text(write(every), encoding="utf-8")
    split = "val" if truth.startswith("karpathy") else None
    try:
        pairs = read_pair(predictions, references, split=split, subset=True, **how)
    except InputError:
        return False
    assert pairs.candidates == pairs.references
    own = read_references(references, split=split)  # called as there, whoever speaks of them
    assert pairs.references == {name: own[name] for name in pairs.references}
    assert sorted(t for texts in pairs.candidates.values() for t in texts) == sorted(
        i.caption for i in some
    )
    return True


@st.composite
def cases(draw, images: st.SearchStrategy) -> tuple:
    every = draw(images)
    some = draw(st.permutations(every))[: draw(st.integers(1, len(every)))]
    said, truth = draw(st.sampled_from(list(PREDICTIONS))), draw(st.sampled_from(list(REFERENCES)))
    return said, truth, some, every


def told(said: str, truth: str) -> set[str]:
    """What of an image both files tell."""
    return {*PREDICTIONS[said][2].split()} & {*REFERENCES[truth][2].split()}


@settings(derandomize=True, deadline=None, max_examples=300)
@given(case=cases(PLAIN), ids=st.sampled_from([None, "id", "file"]))
def test_captions_are_beside_their_own_references_or_are_refused(folder, case, ids):
    said, truth, some, every = case
    assume(ids in (None, *told(said, truth)))  # told of ids, nobody can know that files are meant
    taken = paired(folder, said, truth, some, every, ids=ids)
    one_kind = "file" if PREDICTIONS[said][2] == "file" else "id"
    if ids == "id" or (ids is None and one_kind == "id" == PREDICTIONS[said][2]):
        assert taken == ("id" in told(said, truth))
    if not told(said, truth):
        assert not taken
    names = {unicodedata.normalize("NFC", i.file).rpartition("/")[2] for i in every}
    if ids is None and PREDICTIONS[said][2] == "file" and len(names) == len(every):
        assert taken == ("file" in told(said, truth))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(case=cases(COCO))
def test_cocos_names_are_its_numbers_in_every_form(folder, case):
    assert paired(folder, *case)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(case=cases(OWN))
def test_cocos_files_under_other_ids_are_not_taken_for_them(folder, case):
    said, truth, *_ = case
    assume(told(said, truth))
    paired(folder, *case)


def test_accents_are_one_letter_or_two(folder):
    nfc = "caf\u00e9.jpg"
    every = [Image(0, nfc, "a caf\u00e9"), Image(1, "b.jpg", "a bar")]
    other = [i._replace(file=unicodedata.normalize("NFD", i.file)) for i in every]
    for said in PREDICTIONS:
        for truth in REFERENCES:
            if told(said, truth):
                assert paired(folder, said, truth, other, every)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("000000391895", "391895"),
        ("000000391895.jpg", "391895"),
        ("COCO_val2014_000000391895", "391895"),
        ("val2014/COCO_val2014_000000391895.jpg", "391895"),
        ("coco_391895", "391895"),
        ("000000000000", "0"),
        ("391895", None),
        ("0391895", None),
        ("0000000391895", None),
        ("COCO_000000391895.gif", None),
        ("\u0660" * 12, None),
    ],
)
def test_only_cocos_names_are_numbers(name, number):
    assert coco_number(name) == number


OTHERS_FILES = [
    Named("42", "val2014/COCO_val2014_000000000043.jpg"),
    Named("43", "val2014/COCO_val2014_000000000042.jpg"),
]


@pytest.mark.parametrize(
    ("said", "truth", "why"),
    [
        # An image's name that may be two images'.
        ([Named("a.jpg")], [Named("x", "1/a.jpg"), Named("y", "2/a.jpg")], "may be the image"),
        ([Named("1", "b.jpg")], [Named("1", "a.jpg"), Named("2", "b.jpg")], "may be the image"),
        ([Named("1", "c.jpg")], [Named("1", "a.jpg"), Named("2", "b.jpg")], "by its id and is not"),
        (
            [Named("a.jpg")],
            [Named("a.jpg", "b.jpg"), Named("b.jpg", "a.jpg")],
            "--ids=id or --ids=file",
        ),
        (
            [Named("COCO_val2014_000000000001")],
            [Named("1"), Named("7", "COCO_val2014_000000000001.jpg")],
            "may be the image",
        ),
        # COCO's files under other images' ids.
        ([Named("42")], OTHERS_FILES, "may be the image .* --ids=id or --ids=file"),
        ([Named("coco_42")], OTHERS_FILES, "may be the image .* --ids=id or --ids=file"),
        ([Named("000000000042")], OTHERS_FILES, "may be the image .* --ids=id or --ids=file"),
        # Two names of one image.
        ([Named("42"), Named("COCO_val2014_000000000042.jpg")], [Named("42")], "are both"),
        ([Named("a.jpg"), Named("./a.jpg")], [Named(None, "a.jpg")], "are both"),
    ],
)
def test_two_readings_are_refused(said, truth, why):
    with pytest.raises(InputError, match=why):
        find(said, truth, "said.json")


@pytest.mark.parametrize(
    ("said", "truth", "ids", "place"),
    [
        ("1", [Named("001"), Named("1")], None, 1),
        ("001", [Named("001"), Named("1")], None, 0),
        ("1", [Named("001")], None, None),
        ("1.jpg", [Named("1")], None, None),
        ("1", [Named(None, "1.jpg")], None, None),
        ("1.jpg", [Named("1", "0.jpg"), Named("0", "1.jpg")], None, 1),
        ("1", [Named("1", "0.jpg"), Named("0", "1.jpg")], None, 0),
        ("1", [Named("1", "0.jpg"), Named("0", "1.jpg")], "file", 1),
        ("1.jpg", [Named("1", "0.jpg"), Named("1.jpg", "2.jpg"), Named("0", "1.jpg")], "id", 1),
        ("1.jpg", [Named("1")], "file", 0),
        ("1.png", [Named("1", "1.jpg")], "file", None),
        # An image whose file is another of COCO's has ids of somebody's own.
        ("COCO_val2014_000000000042", [Named("42", "COCO_val2014_000000000099.jpg")], None, None),
        ("COCO_val2014_000000000042.jpg", [Named("42", "dog.jpg")], None, None),
        ("COCO_val2014_000000000042", [Named("42", "dog.jpg")], None, 0),
        ("42", [Named("42", "COCO_val2014_000000000099.jpg")], None, 0),
        ("42", OTHERS_FILES, "id", 0),
        ("42", OTHERS_FILES, "file", 1),
        ("coco_42", OTHERS_FILES, "id", 0),
        ("coco_42", OTHERS_FILES, "file", 1),
        ("COCO_val2014_000000000042.jpg", OTHERS_FILES, None, 1),
        ("photos/1.jpg", [Named(None, "1.jpg")], None, 0),
        ("1.jpg", [Named(None, "photos/1.jpg")], None, 0),
        ("x/1.jpg", [Named(None, "y/1.jpg")], None, None),
    ],
)
def test_the_rule(said, truth, ids, place):
    assert find([Named(said)], truth, "said.json", ids) == [place]
    assert find(truth, truth, "said.json") == list(range(len(truth)))
    if said.endswith((".jpg", ".png")):  # what is known to be a file's name, as of "image"
        known = find([Named(None, said)], truth, "said.json", ids)
        assert known == [place]


def test_a_name_that_may_be_of_another_split_is_refused(tmp_path):
    captions = {"1/a.jpg": ("a dog", "val"), "2/a.jpg": ("a cat", "train"), "b.jpg": ("b", "val")}
    folder = {
        file: {"captions": [text], "split": split} for file, (text, split) in captions.items()
    }
    (tmp_path / "captions.json").write_text(json.dumps(folder))
    for name, why in (("a.jpg", "may be the image"), ("2/a.jpg", "no references for 1 image")):
        (tmp_path / "said.json").write_text(json.dumps({name: "a cat"}))
        with pytest.raises(InputError, match=why):
            read_pair(tmp_path / "said.json", tmp_path / "captions.json", split="val", subset=True)


def test_the_command_reads_pipes_and_its_own_split_of_known_captions(tmp_path):
    """As `cat captions | capjax.evaluate --predictions=/dev/stdin` does."""
    truth = {"1": ["a dog runs", "the dog"], "2": ["two cats sleep", "cats"]}
    (tmp_path / "references.jsonl").write_text(
        lines([{"id": i, "references": texts} for i, texts in truth.items()])
    )
    said = lines([{"id": "1", "caption": "a dog runs"}, {"id": "2", "caption": "a cat sleeps"}])
    known = {
        "a.jpg": {"captions": ["a dog runs"], "split": "train"},
        "b.jpg": {"captions": ["a cat sleeps"], "split": "val"},
    }
    (tmp_path / "known.json").write_text(json.dumps(known))
    reads, writes = os.pipe()
    os.write(writes, said.encode())
    os.close(writes)
    flags = [f"--predictions=/dev/fd/{reads}", f"--references={tmp_path / 'references.jsonl'}"]
    flags += ["--quick", f"--known={tmp_path / 'known.json'}", f"--out={tmp_path / 'out'}"]
    try:
        assert evaluate.main(flags) == 0
    finally:
        os.close(reads)
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert found["novel"] == 0.5
    rows = json.loads((tmp_path / "out" / "captions.json").read_text())
    assert {row["id"]: row["references"] for row in rows} == truth


def test_known_captions_of_the_references_own_file_are_those_of_its_training(tmp_path):
    """Which is split by its names for both: what people say of val is not known."""
    names = [f"{n}.jpg" for n in range(200)]
    folder = tmp_path / "captions.json"
    folder.write_text(json.dumps({name: [f"a {n}", f"the {n}"] for n, name in enumerate(names)}))
    splits = split_by_name(names, folder)
    val = [n for n, name in enumerate(names) if splits[name] == "val"]
    assert len(val) > 1
    train = next(n for n, name in enumerate(names) if splits[name] == "train")
    said = {names[n]: f"a {n}" for n in val} | {names[val[0]]: f"a {train}"}
    (tmp_path / "said.json").write_text(json.dumps(said))
    flags = [f"--predictions={tmp_path / 'said.json'}", f"--references={folder}", "--quick"]
    flags += ["--split=val", f"--known={folder}", f"--out={tmp_path / 'out'}"]
    assert evaluate.main(flags) == 0
    found = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert found["novel"] == pytest.approx(1 - 1 / len(val))


def test_the_command_scores_files_names_as_it_scores_ids(tmp_path, capsys):
    """Karpathy's images 0..3 whose files are 1.jpg, 0.jpg, 3.jpg, 2.jpg."""
    texts = ("a dog runs", "two cats sleep in bed", "a man rides a red bike", "snow falls on hills")
    files = ("1.jpg", "0.jpg", "3.jpg", "2.jpg")
    images = [Image(*row) for row in zip(range(4), files, texts, strict=True)]
    (tmp_path / "references.json").write_text(karpathy(images, imgid=""))
    scores = {}
    for said in ("list", "list of files", "capjax.caption", "LAVIS"):
        write, ending, _ = PREDICTIONS[said]
        (tmp_path / f"said.{ending}").write_text(write(images))
        flags = [f"--predictions={tmp_path / f'said.{ending}'}", "--quick", "--split=val"]
        flags += [f"--references={tmp_path / 'references.json'}", f"--out={tmp_path / said}"]
        assert evaluate.main(flags) == 0
        scores[said] = json.loads((tmp_path / said / "scores.json").read_text())["cider_d"]
    assert len(set(scores.values())) == 1
    assert scores["list"] > 5
    # The same numbers against references that tell of files alone: no one knows which are meant.
    (tmp_path / "references.json").write_text(FORMS["object of files"][0](images))
    (tmp_path / "said.json").write_text(FORMS["list"][0](images))
    flags = [f"--predictions={tmp_path / 'said.json'}", "--quick", f"--out={tmp_path / 'x'}"]
    flags += [f"--references={tmp_path / 'references.json'}"]
    capsys.readouterr()
    assert evaluate.main(flags) == 2
    assert "--ids=file" in capsys.readouterr().err
    assert evaluate.main([*flags, "--ids=file"]) == 0  # and whoever says so is believed
