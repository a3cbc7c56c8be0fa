"""Photos that come through a browser: read once, and then gone from the disk."""

import os
import time

import numpy as np
import pytest
from PIL import Image

from capjax.errors import InputError
from capjax.models.encoders import pixels
from capjax.page.uploads import LEFT, Uploads

ENCODERS = {"pixels64": pixels(64)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def uploaded(folder, name="one.png", colour="red", data=None):
    """As the server writes it."""
    path = folder / "digest" / name
    path.parent.mkdir(exist_ok=True)
    if data is None:
        Image.new("RGB", (40, 20), colour).save(path)
    else:
        path.write_bytes(data)
    return {"path": str(path), "orig_name": name}


def test_a_photo_is_read_and_gone(folder):
    picture = Uploads(folder, ENCODERS).take(uploaded(folder))
    assert not list(folder.iterdir())
    assert picture.name == "one.png"
    assert picture.look.shape == (160, 320, 3)  # its own proportions
    np.testing.assert_array_equal(picture.seen["pixels64"][0, 0], (255, 0, 0))


@pytest.mark.parametrize("data", [b"", b"no photo", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_photo_is_told_by_its_own_name_and_gone(data, folder):
    with pytest.raises(InputError, match=r"^the photo one\.png (is empty|cannot be read): "):
        Uploads(folder, ENCODERS).take(uploaded(folder, data=data))
    assert not list(folder.iterdir())


def test_two_people_may_drop_the_same_photo_at_once(folder):
    """Of one digest there is one file, which the first to be answered takes away."""
    uploads = Uploads(folder, ENCODERS)
    upload = uploaded(folder)
    first, second = uploads.take(upload), uploads.take(upload)
    np.testing.assert_array_equal(first.look, second.look)


def test_nobody_takes_away_what_another_has_dropped_by_another_name(folder):
    uploads = Uploads(folder, ENCODERS)
    every = [uploaded(folder, name) for name in ("one.png", "two.png")]
    assert [uploads.take(upload).name for upload in every] == ["one.png", "two.png"]
    assert not list(folder.iterdir())


def test_a_file_elsewhere_is_neither_read_nor_removed(folder, tmp_path):
    mine = tmp_path / "mine.png"
    Image.new("RGB", (8, 8)).save(mine)
    for path in (mine, folder / ".." / "mine.png", folder / "a" / ".." / ".." / "mine.png"):
        with pytest.raises(InputError, match="has gone"):
            Uploads(folder, ENCODERS).take({"path": str(path)})
    assert mine.exists()


def test_what_was_broken_off_is_removed_and_what_is_under_way_is_not(folder):
    old, new = folder / "tmpold", folder / "tmpnew"
    old.touch()
    new.touch()
    long_ago = time.time() - LEFT - 1
    os.utime(old, (long_ago, long_ago))
    Uploads(folder, ENCODERS).sweep()
    assert [path.name for path in folder.iterdir()] == ["tmpnew"]


def test_photos_lie_upright(folder):
    path = folder / "digest" / "turned.jpg"
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(path, exif=exif)
    assert Uploads(folder, ENCODERS).take({"path": str(path)}).look.shape == (320, 160, 3)
