"""Triplets come out as they were written, and rows that a dataset cannot answer are told of."""

import json
from pathlib import Path

import pytest

from capjax.data.justify_files import Triplet, read_justify
from capjax.errors import InputError

COLOURED = ("blue square", "red circle", "red square")
BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "010.Red_winged_Blackbird")
IDS = tuple(f"{bird}/{i}.jpg" for bird in BIRDS for i in range(2))
ROW = {"image": IDS[0], "target": BIRDS[0], "distractor": BIRDS[1], "captions": ["it is dark"]}


def write(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows))
    return path


def test_triplets_are_what_was_written_in_their_order(tmp_path):
    captions = [f"reason {i}, caf\u00e9" for i in range(5)]
    rows = [
        ROW | {"captions": captions},
        ROW | {"image": IDS[5], "target": BIRDS[2], "distractor": BIRDS[0]},
        ROW | {"distractor": BIRDS[2]},
    ]
    assert read_justify(write(tmp_path / "t.json", rows), IDS, BIRDS) == [
        Triplet(IDS[0], 0, 1, tuple(captions)),
        Triplet(IDS[5], 2, 0, ("it is dark",)),
        Triplet(IDS[0], 0, 2, ("it is dark",)),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "010.Red_winged_Blackbird",
        "010.red winged blackbird",
        "Red_winged_Blackbird",
        " RED winged_blackbird",
        "10",
        "010",
        10,
    ],
)
def test_ways_to_write_a_class(tmp_path, name):
    path = write(tmp_path / "t.json", [ROW | {"target": name}, ROW | {"distractor": name}])
    found = read_justify(path, IDS, BIRDS)
    assert [(t.target, t.distractor) for t in found] == [(2, 1), (0, 2)]


def test_classes_without_numbers_and_images_named_by_a_number(tmp_path):
    row = {"image": "val-00012", "target": "Red_circle", "distractor": "blue square"}
    rows = [row | {"captions": ["it is red"]}, ROW | row | {"image": 7}]
    found = read_justify(write(tmp_path / "t.json", rows), ["val-00012", "7"], COLOURED)
    assert [triplet.image for triplet in found] == ["val-00012", "7"]
    assert [COLOURED[triplet.target] for triplet in found] == ["red circle"] * 2
    assert [COLOURED[triplet.distractor] for triplet in found] == ["blue square"] * 2


def told(path: Path, *words: object, concepts: tuple[str, ...] = BIRDS) -> None:
    with pytest.raises(InputError) as error:
        read_justify(path, IDS, concepts)
    for word in (path, *words):
        assert str(word) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["a"], ["is not an object", "distractor"]),
        ({"image": IDS[0]}, ['has no "target"']),
        *(
            ({name: ROW[name] for name in ROW if name != field}, [f'has no "{field}"'])
            for field in ROW
        ),
        (ROW | {"image": IDS[0][:-4]}, [repr(IDS[0][:-4]), f"did you mean {IDS[0]}"]),
        (ROW | {"image": 3}, ["no image 3", f"such as {IDS[0]}"]),
        (ROW | {"image": ["\n"]}, ["no image ['\\n']"]),
        (
            ROW | {"target": "laysan albatros"},
            ['"target"', "'laysan albatros'", f"did you mean {BIRDS[1]}"],
        ),
        (ROW | {"distractor": "penguin"}, ['"distractor"', "'penguin'", f"such as {BIRDS[0]}"]),
        (ROW | {"distractor": 3}, ['"distractor"', "no class 3"]),
        (ROW | {"distractor": 0}, ["no class 0"]),
        (ROW | {"distractor": "0laysan albatross"}, ["no class '0laysan albatross'"]),
        (ROW | {"distractor": True}, ["no class True"]),
        (ROW | {"distractor": None}, ["no class None"]),
        (ROW | {"distractor": "\ud83d"}, ["'\\ud83d'"]),
        (ROW | {"distractor": "black footed albatross"}, ["both", BIRDS[0]]),
        (ROW | {"captions": []}, ["no captions"]),
        (ROW | {"captions": "it is dark"}, ['"captions" is no list']),
        (ROW | {"captions": ["it is dark", " . "]}, ["caption 1 has no words"]),
        (ROW | {"captions": [5]}, ["caption 0 is 5"]),
        (ROW | {"captions": ["a \ud83d"]}, ["surrogate"]),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, words):
    told(write(tmp_path / "t.json", [ROW, row]), "row 1", *words)


def test_a_name_that_may_be_two_classes(tmp_path):
    twins = ("001.Albatross", "002.albatross", "003.Gull")
    row = ROW | {"target": "gull", "distractor": "Albatross"}
    path = write(tmp_path / "t.json", [row])
    told(path, "row 0", "'Albatross' may be 001.Albatross or 002.albatross", concepts=twins)
    # A name in full is that class, though it is another's name without the number.
    (found,) = read_justify(path, IDS, ("001.Albatross", "albatross", "003.Gull"))
    assert (found.target, found.distractor) == (2, 1)


def test_a_number_is_a_class_only_where_names_have_numbers(tmp_path):
    path = write(tmp_path / "t.json", [ROW | {"target": "red circle", "distractor": 2}])
    told(path, "no class 2", concepts=COLOURED)


def test_a_bad_file_is_named(tmp_path):
    path = tmp_path / "t.json"
    told(path, "cannot read")
    for rows in ({"triplets": [ROW]}, [], "text"):
        told(write(path, rows), "must hold a list")
    path.write_text("[\n{,")
    told(path, "line 2")
    path.write_bytes(b'["\xff"]')
    told(path, "UTF-8")
    told(write(path, [ROW]), "has none", concepts=())
