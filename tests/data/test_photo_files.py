"""Which files of a folder are photos, and what is said of those that are none or damaged."""

import os
import struct
import threading
import zlib

import numpy as np
import pytest
from PIL import Image

from capjax.data.annotations import Photo
from capjax.data.features import read_photo
from capjax.data.photo_files import PhotoFiles, check_images, photo_files, photos_in
from capjax.data.photo_pixels import ENDINGS
from capjax.data.photo_places import place
from capjax.data.prepare import prepare
from capjax.data.split import Split
from capjax.errors import InputError
from capjax.models.encoders import pixels


def paint(path, size=(8, 8), kind=None):
    Image.new("RGB", size, (200, 30, 60)).save(path, kind)
    return path


def told(call, *words: object) -> str:
    """The call raises an InputError of one line that holds the words."""
    with pytest.raises(InputError) as error:
        call()
    (line,) = str(error.value).splitlines()
    for word in words:
        assert str(word) in line
    return line


def check(*paths) -> None:
    files = tuple(map(str, paths))
    check_images(Split(files, (("a",),) * len(files), PhotoFiles(files)), progress=False)


@pytest.fixture
def odd(tmp_path):
    """Names where there is no photo -> a word of what is said."""
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "letter.jpg").write_text("dear sir")
    (tmp_path / "nowhere.jpg").symlink_to(tmp_path / "gone")
    (tmp_path / "round.jpg").symlink_to(tmp_path / "round.jpg")
    (tmp_path / "._photo.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X" + bytes(99))
    paint(tmp_path / "shut.jpg").chmod(0)
    words = {
        "folder.jpg": "a folder",
        "fifo.jpg": "no file",
        "empty.jpg": "is empty",
        "letter.jpg": "none of JPEG",
        "nowhere.jpg": "no photo",
        "round.jpg": "symbolic links",
        "._photo.jpg": "none of JPEG",
        "never.jpg": "no photo",
        "letter.jpg/a.jpg": "Not a directory",
        "n" * 300 + ".jpg": "too long",
        "a\0b.jpg": "null",
    }
    if os.access(tmp_path / "shut.jpg", os.R_OK):  # who may do everything
        return words
    return words | {"shut.jpg": "Permission denied"}


def test_what_is_no_photo_is_named_wherever_it_is_read(tmp_path, odd):
    """At once, too: nobody waits for a pipe's other end."""
    for name, word in odd.items():
        told(lambda: read_photo(tmp_path / name), name, word)  # noqa: B023
        sentence = told(lambda: check(tmp_path / name), name, word, "1 of 1")  # noqa: B023
        assert len(sentence) < 400 + 2 * len(str(tmp_path / name))


def test_files_that_vanish_after_the_check_are_named(tmp_path):
    path = paint(tmp_path / "a.png")
    check(path)
    path.unlink()
    told(lambda: read_photo(path), "there is no photo", path)


def test_one_damaged_photo_among_many_is_found_before_any_is_encoded(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPJAX_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    rows = ["image,caption,split"]
    for i in range(60):
        name = f"{i}.png"
        Image.fromarray(np.full((9, 9, 3), i, np.uint8)).save(folder / name)
        rows.append(f"{name},a wall,{'val' if i > 50 else 'train'}")
    (folder / "captions.csv").write_text("\n".join(rows))
    data = bytearray((folder / "55.png").read_bytes())
    data[data.index(b"IDAT") + 9] ^= 1
    (folder / "55.png").write_bytes(data)
    encoded = []
    encoder = pixels(8)._replace(apply=lambda images: encoded.append(images) or images)
    told(lambda: prepare("folder", folder, None, encoder), "1 of 9", folder / "55.png")
    assert not encoded
    Image.fromarray(np.full((9, 9, 3), 55, np.uint8)).save(folder / "55.png")
    found = prepare("folder", folder, None, encoder)
    np.testing.assert_array_equal(found.images["val"][:, 0, 0, 0], np.arange(51, 60))


def test_photos_of_a_folder_are_those_that_are_read(tmp_path, capsys):
    """Every ending that is read, in any case, and none; what is left out is told of."""
    shown = [paint(tmp_path / f"a{ending}", kind="PNG") for ending in sorted(ENDINGS)]
    shown += [paint(tmp_path / "B.JPG"), paint(tmp_path / "b.Jpeg", kind="JPEG")]
    shown += [paint(tmp_path / "no ending", kind="JPEG")]
    assert photos_in(tmp_path) == photo_files([str(tmp_path)]) == sorted(shown)
    assert capsys.readouterr() == ("", "")
    for path in shown:
        read_photo(path)
    for name in (".DS_Store", "._a.jpg", ".a.png.swp", "Thumbs.db", "desktop.ini", ".hidden.jpg"):
        (tmp_path / name).write_bytes(b"\0" * 99)
    assert photos_in(tmp_path) == sorted(shown)
    assert capsys.readouterr() == ("", "")
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "README").write_text("photos of walls")
    (tmp_path / "more.jpg").mkdir()
    assert photos_in(tmp_path) == sorted(shown)
    assert capsys.readouterr().err.startswith(
        f"capjax: 3 files and folders in {tmp_path} are no photos by their names and are left out, "
        "the first is IMG_1.HEIC"
    )


def test_photos_of_a_folder_that_cannot_be_read_are_not_left_out(tmp_path, odd):
    del odd
    shown = ["empty", "fifo", "letter", "nowhere", "round", "shut"]
    assert [path.stem for path in photos_in(tmp_path)] == shown


def test_names_that_are_none_are_told_of(tmp_path):
    for name in ("gone.jpg", "n" * 300 + ".jpg", "a\0b.jpg"):
        told(lambda: photo_files([str(tmp_path / name)]), "there is no photo", name)  # noqa: B023
    told(lambda: photos_in(tmp_path), tmp_path, "holds no photo", ".avif")
    told(lambda: photos_in(tmp_path / "gone"), tmp_path / "gone", "No such file")
    fork = tmp_path / "._photo.jpg"
    fork.write_bytes(b"\0\5\x16\7")
    told(lambda: photo_files([str(tmp_path)]), "holds no photo")
    assert photo_files([str(fork)]) == [fork]  # named, it is looked at


def test_hidden_files_are_not_images_without_captions(tmp_path, capsys):
    paint(tmp_path / "a.jpg")
    (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7")
    photos = [Photo("a", "a.jpg", ("a wall",), "train")]
    place(photos, [tmp_path], tmp_path / "captions.json")
    assert capsys.readouterr().err == ""
    paint(tmp_path / "b.jpg")
    place(photos, [tmp_path], tmp_path / "captions.json")
    assert capsys.readouterr().err.startswith("1 images in")
    named = [*photos, Photo("._a", "._a.jpg", ("a wall",), "train")]
    assert len(place(named, [tmp_path], tmp_path / "captions.json")) == 2


def test_photos_of_any_size_are_read_or_refused_in_bounded_memory(tmp_path):
    """A header may claim what it likes: 60,000 x 60,000 pixels are not asked of the memory."""
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    small = (tmp_path / "a.png").read_bytes()
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (30_000, 8_000)):
        head = struct.pack(">II", width, height) + small[24:29]
        data = small[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + small[33:]
        (tmp_path / "b.png").write_bytes(data)
        told(lambda: read_photo(tmp_path / "b.png"), "b.png", "too large or damaged")


def test_large_photos_are_read_by_many_threads(tmp_path):
    """Those above LARGE take turns, and nobody waits forever."""
    Image.new("L", (5000, 4000), 77).save(tmp_path / "a.png", compress_level=1)
    found = []
    readers = [
        threading.Thread(target=lambda: found.append(read_photo(tmp_path / "a.png", 8)))
        for _ in range(4)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)
    assert len(found) == 4
    assert all((one == 77).all() for one in found)
