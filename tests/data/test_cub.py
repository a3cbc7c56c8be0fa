"""Birds come with their captions and their classes, and tables that disagree are told of."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from capjax.data import cub, load
from capjax.data.caption_builder import CaptionFiles
from capjax.data.prepare import prepare
from capjax.errors import InputError
from capjax.models.encoders import encoder_named

BIRDS = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")
TRAIN, TEST = 21, 2  # images of each class


def shade(bird: int, i: int) -> tuple[int, int, int]:
    return (60 * bird + 40, 10 * i, 0)


def listing() -> list[tuple[str, int, int]]:
    """(file, class counted from 0, train) of each image, the tests before the others."""
    return [
        (f"{bird}/{bird[4:]}_{i:04d}.jpg", number, int(i >= TEST))
        for number, bird in enumerate(BIRDS)
        for i in range(TEST + TRAIN)
    ]


def said(file: str) -> list[str]:
    return [f"this is {file[:-4]} told {way}" for way in ("once", "twice")]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("birds")
    rows = listing()
    for at, (file, bird, _) in enumerate(rows):
        photo, text = folder / "images" / file, folder / "text_c10" / f"{file[:-4]}.txt"
        photo.parent.mkdir(parents=True, exist_ok=True)
        text.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), shade(bird, at % (TEST + TRAIN))).save(photo, quality=100)
        text.write_text("\n".join(said(file)) + "\n")
    write(folder, "images.txt", [file for file, _, _ in rows])
    write(folder, "image_class_labels.txt", [bird + 1 for _, bird, _ in rows])
    write(folder, "train_test_split.txt", [train for _, _, train in rows])
    write(folder, "classes.txt", BIRDS)
    return folder


def write(folder: Path, table: str, values) -> None:
    text = "".join(f"{number} {value}\n" for number, value in enumerate(values, 1))
    (folder / table).write_text(text)


@pytest.fixture
def birds(original, tmp_path) -> Path:
    """Three classes of 23 images, two captions an image."""
    return shutil.copytree(original, tmp_path / "birds")


def told(folder: Path, *words: object) -> None:
    """Reading the folder raises an InputError of one line that holds the words."""
    with pytest.raises(InputError) as error:
        load("cub", folder, folder.parent / "cache")
    for word in words:
        assert str(word) in str(error.value)
    assert "\n" not in str(error.value)


def edit(path: Path, change: Callable[[list[str]], object]) -> None:
    """change: is given the lines, and changes them."""
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_each_bird_comes_with_its_captions_its_class_and_its_pixels(birds, tmp_path):
    for _ in range(2):  # read, and read back from the cache
        data = load("cub", birds, tmp_path / "cache")
        assert data.concepts == BIRDS
        found = {
            id_: (split, i)
            for name, split in data.splits.items()
            for i, id_ in enumerate(split.ids)
        }
        rows = listing()
        assert sorted(found) == sorted(file for file, _, _ in rows)
        for at, (file, bird, _) in enumerate(rows):
            split, i = found[file]
            assert split.captions[i] == tuple(said(file))
            assert split.concepts[i] == bird
            expected = shade(bird, at % (TEST + TRAIN))
            assert abs(split.image(i)[0, 0].astype(int) - expected).max() <= 3


def test_the_official_test_images_are_test_and_every_tenth_other_of_a_class_is_val(birds, tmp_path):
    data = load("cub", birds, tmp_path / "cache")
    rows = listing()
    official = [file for file, _, train in rows if not train]
    tenths = [
        [file for file, of, train in rows if train and of == bird][i]
        for bird in range(len(BIRDS))
        for i in (9, 19)
    ]
    assert data.splits["test"].ids == tuple(official)
    assert data.splits["val"].ids == tuple(tenths)
    rest = [file for file, _, _ in rows if file not in {*official, *tenths}]
    assert data.splits["train"].ids == tuple(rest)


def test_the_class_is_the_place_in_classes_whatever_the_ids_are(birds, tmp_path):
    (birds / "classes.txt").write_text("".join(f"{i}0 {BIRDS[i]}\n" for i in (2, 0, 1)))
    write(birds, "image_class_labels.txt", [f"{bird}0" for _, bird, _ in listing()])
    data = load("cub", birds, tmp_path / "cache")
    assert data.concepts == (BIRDS[2], BIRDS[0], BIRDS[1])
    for split in data.splits.values():
        for file, concept in zip(split.ids, split.concepts, strict=True):
            assert file.startswith(data.concepts[concept])


@pytest.mark.parametrize("texts", cub.TEXTS)
def test_the_official_folders_unpacked_into_one(birds, tmp_path, texts):
    plain = load("cub", birds, tmp_path / "cache")
    first = {name: split.image(0) for name, split in plain.splits.items()}
    archive = birds / "CUB_200_2011"
    archive.mkdir()
    for name in (*cub.TABLES, "images"):
        (birds / name).rename(archive / name)
    (birds / "text_c10").rename(birds / "aside")
    (birds / texts).parent.mkdir(parents=True, exist_ok=True)
    (birds / "aside").rename(birds / texts)
    nested = load("cub", birds, tmp_path / "cache")
    for name, split in plain.splits.items():
        assert nested.splits[name]._replace(image=None) == split._replace(image=None)
        assert (nested.splits[name].image(0) == first[name]).all()


def test_what_is_prepared_keeps_the_classes(birds, tmp_path):
    prepared = prepare("cub", birds, tmp_path / "cache", encoder_named("pixels64"))
    assert prepared.concepts == BIRDS
    for name, split in prepared.splits.items():
        reds = prepared.images[name].reshape(len(split.ids), -1, 3)[:, 0, 0].astype(int)
        assert all(abs(reds - [shade(bird, 0)[0] for bird in split.concepts]) <= 3)


def test_what_is_left_out_is_told_of(birds, tmp_path, capsys):
    file, _, _ = listing()[0]
    text = birds / "text_c10" / f"{file[:-4]}.txt"
    text.write_text("\n a caf\u00e9 bird\ufffd \r\n\n\ufffd .\n", encoding="utf-8")
    (text.parent / "spare.txt").write_text("a spare bird")
    data = load("cub", birds, tmp_path / "cache")
    assert data.splits["test"].captions[0] == ("a caf\u00e9 bird\ufffd",)
    printed = capsys.readouterr().err
    assert "1 lines in" in printed
    assert "1 files in" in printed


def test_a_caption_or_a_class_that_changes_is_read_anew(birds, tmp_path):
    first = load("cub", birds, tmp_path / "cache")
    one, two = (birds / "text_c10" / f"{file[:-4]}.txt" for file, _, _ in listing()[:2])
    lines = one.read_text().splitlines(keepends=True)
    one.write_text(lines[0])  # its last caption becomes the first of the next file
    two.write_text(lines[1] + two.read_text())
    moved = load("cub", birds, tmp_path / "cache")
    assert moved.fingerprint != first.fingerprint
    assert [len(captions) for captions in moved.splits["test"].captions[:2]] == [1, 3]
    edit(birds / "classes.txt", lambda lines: lines.append("4 004.Groove_billed_Ani"))
    more = load("cub", birds, tmp_path / "cache")
    assert more.concepts == (*BIRDS, "004.Groove_billed_Ani")
    assert more.fingerprint != moved.fingerprint


def test_records_of_an_older_version_are_left_alone_and_read_anew(birds, tmp_path, monkeypatch):
    first = load("cub", birds, tmp_path / "cache")
    (current,) = (tmp_path / "cache").rglob(str(CaptionFiles.VERSION))
    old = current.with_name("1.0.0")
    current.rename(old)
    kept = {file: file.read_bytes() for file in old.iterdir()}
    again = load("cub", birds, tmp_path / "cache")
    assert again == first
    assert current.is_dir()
    assert {file: file.read_bytes() for file in old.iterdir()} == kept


@pytest.mark.parametrize("table", [*cub.TABLES, "images", "text_c10"])
def test_a_missing_part_is_named(birds, table):
    (birds / table).rename(birds / "away")
    told(birds, birds, table)


def put(table: str, line: int, text: str) -> Callable[[Path], None]:
    """Changes a line, counted from 1."""
    return lambda folder: edit(folder / table, lambda lines: lines.__setitem__(line - 1, text))


def cut(table: str, line: int) -> Callable[[Path], None]:
    return lambda folder: edit(folder / table, lambda lines: lines.pop(line - 1))


def text_of(line: int, content: bytes | None) -> Callable[[Path], None]:
    """Changes the captions of an image, or takes their file away."""

    def change(folder: Path) -> None:
        path = folder / "text_c10" / f"{listing()[line - 1][0][:-4]}.txt"
        path.unlink() if content is None else path.write_bytes(content)

    return change


FIRST = listing()[0][0]
LABELS, SIDES = "image_class_labels.txt", "train_test_split.txt"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (put("images.txt", 2, "2"), ["images.txt, line 2", "after the id 2"]),
        (put("images.txt", 2, f"1 {listing()[1][0]}"), ["images.txt, line 2", "id 1 is also in"]),
        (put("images.txt", 2, f"2 {FIRST}"), ["images.txt, line 2", FIRST, "images.txt, line 1"]),
        (put("images.txt", 2, "2 ../out.jpg"), ["line 2", "../out.jpg", "outside"]),
        (put("images.txt", 2, "2 /out.jpg"), ["line 2", "/out.jpg", "outside"]),
        (put("images.txt", 2, "2 a/../../out.jpg"), ["line 2", "a/../../out.jpg", "outside"]),
        (put("images.txt", 2, "2 out.jpg"), ["line 2", "out.jpg", "class folder/file.jpg"]),
        (put("images.txt", 2, "2 .."), ["line 2", "..", "outside"]),
        (cut("images.txt", 3), [f"{LABELS}, line 3", "id 3 is not in", "images.txt"]),
        (cut(LABELS, 3), ["images.txt, line 3", "id 3 is not in", LABELS]),
        (cut(SIDES, 3), ["images.txt, line 3", "id 3 is not in", SIDES]),
        (put(SIDES, 69, "70 1"), [f"{SIDES}, line 69", "id 70 is not in", "images.txt"]),
        (put(LABELS, 5, "5 9"), [f"{LABELS}, line 5", "class id 9", "classes.txt"]),
        (put(LABELS, 5, "5 2"), [f"{LABELS}, line 5", BIRDS[0], BIRDS[1]]),
        (put(LABELS, 5, "4 1"), [f"{LABELS}, line 5", "id 4 is also in", "line 4"]),
        (put(SIDES, 5, "5 train"), [f"{SIDES}, line 5", "train is neither 1 (train) nor 0"]),
        (cut("classes.txt", 3), ["class id 3", "classes.txt"]),
        (put("classes.txt", 3, f"3 {BIRDS[0]}"), ["classes.txt, line 3", BIRDS[0], "line 1"]),
        (put("classes.txt", 3, f"2 {BIRDS[2]}"), ["classes.txt, line 3", "id 2 is also in"]),
        (lambda folder: (folder / "classes.txt").write_text("\n"), ["classes.txt is empty"]),
        (lambda folder: (folder / SIDES).write_bytes(b"1 1\n2 \xff\n"), [SIDES, "UTF-8 (line 2)"]),
        (lambda folder: write(folder, SIDES, [0] * 69), [SIDES, "10 train images"]),
        (lambda folder: (folder / "images" / FIRST).unlink(), ["1 images of 69", FIRST]),
        (text_of(1, None), ["1 images of 69", "images.txt", "text_c10", f"{FIRST[:-4]}.txt"]),
        (text_of(1, b""), [f"{FIRST[:-4]}.txt holds no captions"]),
        (text_of(1, b"\n . \n"), [f"{FIRST[:-4]}.txt holds no captions"]),
        (text_of(1, b"a bird\ncaf\xe9\n"), [f"{FIRST[:-4]}.txt", "UTF-8 (line 2)"]),
    ],
)
def test_what_is_not_as_it_should_be_is_named_with_its_line(birds, spoil, words):
    spoil(birds)
    told(birds, *words)


def test_a_path_that_is_none(tmp_path):
    told(tmp_path / "no", tmp_path / "no", "does not exist")
    told(tmp_path, tmp_path, "CUB_200_2011", "images.txt")
    with pytest.raises(InputError, match=r"images\.txt, text_c10/.*--config\.data\.path"):
        load("cub", cache=tmp_path / "cache")
