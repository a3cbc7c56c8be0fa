"""Krause et al.'s paragraphs are read as they were published, and what is wrong is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from capjax.data import load
from capjax.data.paragraph_files import TEXTS
from capjax.data.prepare import prepare
from capjax.errors import InputError
from capjax.models.encoders import encoder_named

SPLITS = {"train": [2317429, 2414610, 2356347], "val": [2346802], "test": [2317457]}
IDS = [i for ids in SPLITS.values() for i in ids]
SERVER = "https://cs.stanford.edu/people/rak248"


def archive(i: int) -> str:
    return "VG_100K_2" if i == 2414610 else "VG_100K"


def row(i: int, text: str | None = None) -> dict[str, Any]:
    text = f"Image {i} has a dog.The dog is  brown. " if text is None else text
    return {"url": f"{SERVER}/{archive(i)}/{i}.jpg", "image_id": i, "paragraph": text}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images in the folders of both archives."""
    made = tmp_path / "paragraphs"
    for i in IDS:
        place = made / "images" / archive(i)
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i % 200, 0, 0)).save(place / f"{i}.jpg", quality=100)
    write(made, TEXTS, [row(i) for i in IDS])
    for split, ids in SPLITS.items():
        write(made, f"{split}_split.json", ids)
    return made


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content))


def told(folder: Path, *words: object) -> None:
    """Reading the folder raises an InputError of one line that holds the words."""
    with pytest.raises(InputError) as error:
        load("paragraphs", folder, folder.parent / "cache")
    for word in words:
        assert str(word) in str(error.value)
    assert "\n" not in str(error.value)


def test_each_image_comes_with_its_paragraph_in_its_split(folder, tmp_path):
    for path in (folder, folder / TEXTS):  # read, and read back from the cache
        data = load("paragraphs", path, tmp_path / "cache")
        assert data.sentences
        assert data.concepts == ()
        assert data.fingerprint.startswith("paragraphs-")
        for name, ids in SPLITS.items():
            split = data.splits[name]
            assert split.ids == tuple(map(str, ids))
            expected = tuple((row(i)["paragraph"].strip(),) for i in ids)
            assert split.captions == expected
            for n, i in enumerate(ids):
                assert abs(int(split.image(n)[0, 0, 0]) - i % 200) <= 3


@pytest.mark.parametrize("place", ["images", "", "VG_100K"])
def test_the_images_may_lie_in_one_folder(folder, tmp_path, place):
    (folder / place).mkdir(exist_ok=True)
    for file in list(folder.glob("images/*/*.jpg")):
        file.rename(folder / place / file.name)
    data = load("paragraphs", folder, tmp_path / "cache")
    files = [Path(file) for split in data.splits.values() for file in split.image.files]
    assert files == [folder / place / f"{i}.jpg" for i in IDS]


def test_an_image_that_is_listed_twice_has_both_paragraphs(folder, tmp_path):
    first, second = SPLITS["train"][:2]
    again = row(first, "Another one. Of two.")
    write(folder, TEXTS, [*map(row, IDS), again, row(second)])
    write(folder, "train_split.json", [first, *SPLITS["train"]])
    data = load("paragraphs", folder, tmp_path / "cache")
    split = data.splits["train"]
    assert split.ids == tuple(map(str, SPLITS["train"]))
    assert list(map(len, split.captions)) == [2, 1, 1]
    assert split.captions[0][1] == "Another one. Of two."


def test_what_is_in_no_split_is_counted_and_test_may_lack(folder, tmp_path, capsys):
    (folder / "test_split.json").unlink()
    data = load("paragraphs", folder, tmp_path / "cache")
    assert list(data.splits) == ["train", "val"]
    assert "1 images in no split are left out" in capsys.readouterr().err


def test_features_of_regions_that_a_user_has(folder, tmp_path):
    regions = tmp_path / "regions"
    regions.mkdir()
    for i in IDS:
        np.save(regions / f"{i}.npy", np.full((5, 8), i % 200, np.float32))
    encoder = encoder_named(f"files:{regions}")
    prepared = prepare("paragraphs", folder, tmp_path / "cache", encoder)
    assert prepared.images["train"].shape == (3, 5, 8)
    assert (prepared.images["val"] == SPLITS["val"][0] % 200).all()


def test_files_that_lack(folder):
    for name in ("val_split.json", "train_split.json", TEXTS):
        (folder / name).unlink()
        told(folder, folder, f"holds no {name}")
    with pytest.raises(InputError, match=r"paragraphs_v1\.json, train_split\.json"):
        load("paragraphs", cache=folder)
    with pytest.raises(InputError, match="does not exist"):
        load("paragraphs", folder / "none", folder)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (TEXTS, {}, "must hold a list"),
        (TEXTS, [], "must hold a list"),
        (TEXTS, [3], 'row 0 has no "image_id"'),
        (TEXTS, [{"image_id": True, "paragraph": "a dog."}], 'row 0 has "image_id": True'),
        (TEXTS, [*map(row, IDS), {"image_id": 1}], 'row 5 has "paragraph": None'),
        (
            TEXTS,
            [row(i, " . " if i == 2414610 else None) for i in IDS],
            "2414610: caption 0 has no",
        ),
        (TEXTS, [row(i) for i in IDS if i != 2346802], "2346802, which has no paragraph"),
        ("val_split.json", [], "must hold a list"),
        ("val_split.json", [[2346802]], 'row 0 has "id"'),
        ("val_split.json", [2346802, 2414610], "is in the splits train and val"),
    ],
)
def test_what_is_wrong_is_told(folder, name, content, words):
    write(folder, name, content)
    told(folder, folder / name, words)


def test_a_missing_image_is_named(folder):
    (folder / "images" / "VG_100K_2" / "2414610.jpg").unlink()
    told(folder, "1 images of 5 that are not in", "2414610.jpg")
