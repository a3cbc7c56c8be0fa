import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from capjax.data.features import Encoder, extract, feature_path, read_photo
from capjax.errors import InputError
from capjax.models.encoders import pixels


def picture(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (4, 4, 3)).astype(np.uint8)


def means(images: np.ndarray) -> np.ndarray:
    """An encoder: mean colours, [N, 4, 4, 3] -> [N, 3]."""
    return images.mean((1, 2), dtype=np.float32)


def breaks_at(batch: int):
    """The same encoder, but for one batch."""
    asked = []

    def encoder(images):
        asked.append(images)
        if len(asked) > batch:
            raise RuntimeError("out of memory")
        return means(images)

    return encoder


def expected(count: int) -> np.ndarray:
    return means(np.stack([picture(i) for i in range(count)]))


def test_features_are_the_encoders_in_order_and_read_only(tmp_path):
    path = tmp_path / "deep" / "val.npy"
    features = extract(picture, 11, means, path, batch_size=4)
    np.testing.assert_array_equal(features, expected(11))
    np.testing.assert_array_equal(np.load(path), features)
    assert not features.flags.writeable
    assert [file.name for file in path.parent.iterdir()] == ["val.npy"]


def test_the_encoder_sees_one_shape_only_and_a_finished_file_is_not_made_again(tmp_path):
    shapes = []

    def encoder(images):
        shapes.append(images.shape)
        return means(images)

    extract(picture, 9, encoder, tmp_path / "a.npy", batch_size=4)
    assert shapes == [(4, 4, 4, 3)] * 3
    again = extract(picture, 9, encoder, tmp_path / "a.npy", batch_size=4)
    assert len(shapes) == 3
    np.testing.assert_array_equal(again, expected(9))


def test_dtypes(tmp_path):
    half = extract(picture, 5, means, tmp_path / "half.npy", dtype=np.float16)
    np.testing.assert_array_equal(half, expected(5).astype(np.float16))
    encoder = pixels(4)
    assert isinstance(encoder, Encoder)
    same = extract(picture, 5, encoder.apply, tmp_path / "same.npy", dtype=encoder.dtype)
    assert same.dtype == np.uint8
    np.testing.assert_array_equal(same, np.stack([picture(i) for i in range(5)]))


def test_an_extraction_that_failed_goes_on_after_its_last_whole_batch(tmp_path):
    path, asked, read = tmp_path / "a.npy", [], []

    def image(i):
        read.append(i)
        return picture(i)

    with pytest.raises(RuntimeError, match="out of memory"):
        extract(image, 10, breaks_at(2), path, batch_size=3)
    assert not path.exists()
    read.clear()
    features = extract(image, 10, lambda x: asked.append(len(x)) or means(x), path, batch_size=3)
    assert len(asked) == 2
    assert sorted(read) == list(range(6, 10))
    np.testing.assert_array_equal(features, expected(10))


KILLED = """
import os, signal, sys
import numpy as np
from capjax.data.features import extract
batches = []
def encoder(images):
    batches.append(0)
    if len(batches) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return images.mean((1, 2), dtype=np.float32)
def picture(i):
    return np.random.default_rng(i).integers(0, 256, (4, 4, 3)).astype(np.uint8)
extract(picture, 20, encoder, sys.argv[1], batch_size=3)
"""


def test_a_killed_process_leaves_its_batches_to_the_next(tmp_path):
    path, asked = tmp_path / "a.npy", []
    killed = subprocess.run([sys.executable, "-c", KILLED, path], capture_output=True, timeout=60)
    assert killed.returncode == -9, killed.stderr
    features = extract(picture, 20, lambda x: asked.append(1) or means(x), path, batch_size=3)
    assert len(asked) == 7 - 3
    np.testing.assert_array_equal(features, expected(20))


@pytest.mark.parametrize("changed", ["batch_size", "dtype", "count", "partial gone", "note torn"])
def test_what_cannot_be_gone_on_with_is_begun_anew(tmp_path, changed):
    path = tmp_path / "a.npy"
    with pytest.raises(RuntimeError, match="out of memory"):
        extract(picture, 12, breaks_at(1), path, batch_size=3)
    assert (tmp_path / "a.npy.progress").exists()
    if changed == "partial gone":
        (tmp_path / "a.npy.partial").unlink()
    if changed == "note torn":
        (tmp_path / "a.npy.progress").write_text('{"plan"')
    batch_size = 4 if changed == "batch_size" else 3
    dtype = np.float16 if changed == "dtype" else np.float32
    count = 7 if changed == "count" else 12
    features = extract(picture, count, means, path, batch_size=batch_size, dtype=dtype)
    np.testing.assert_array_equal(features, expected(count).astype(dtype))


def test_two_at_once_share_one_extraction(tmp_path):
    asked, results = [], []

    def work():
        results.append(
            extract(picture, 40, lambda x: asked.append(1) or means(x), path, batch_size=2)
        )

    path = tmp_path / "a.npy"
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 20
    for features in results:
        np.testing.assert_array_equal(features, expected(40))


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (lambda x: np.where(x[:, 0, 0] == picture(5)[0, 0], np.nan, 1.0), "photo-5"),
        (lambda x: means(x)[:2], "first axis"),
        (lambda x: means(x).sum(), "first axis"),
        (lambda x, seen=[]: seen.append(1) or np.ones((4, len(seen))), "one shape"),
    ],
)
def test_encoders_that_break_their_contract(tmp_path, encoder, message):
    ids = [f"photo-{i}" for i in range(8)]
    with pytest.raises(InputError, match=message):
        extract(picture, 8, encoder, tmp_path / "a.npy", batch_size=4, ids=ids)


def test_numbers_too_large_for_the_dtype_are_not_stored_as_infinity(tmp_path):
    with pytest.raises(InputError, match="not finite as float16"):
        extract(picture, 4, lambda x: means(x) * 1e5, tmp_path / "a.npy", dtype=np.float16)
    with pytest.raises(InputError, match="float32 where uint8"):
        extract(picture, 4, means, tmp_path / "b.npy", dtype=np.uint8)


@pytest.mark.parametrize(
    "odd", [np.zeros((4, 5, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))]
)
def test_an_odd_image_is_named(tmp_path, odd):
    ids = [f"photo-{i}" for i in range(8)]
    with pytest.raises(InputError, match="photo-6"):
        extract(lambda i: odd if i == 6 else picture(i), 8, means, tmp_path / "a.npy", ids=ids)


def test_disks(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no images"):
        extract(picture, 0, means, tmp_path / "a.npy")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="choose another cache"):
        extract(picture, 4, means, tmp_path / "file" / "a.npy")
    usage = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=rf"12,000 bytes in {re.escape(str(tmp_path))}"):
        extract(picture, 1000, means, tmp_path / "a.npy")


def test_a_file_that_is_not_these_features_is_named(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY, cut short")
    with pytest.raises(InputError, match=r"a\.npy are damaged"):
        extract(picture, 4, means, tmp_path / "a.npy")
    extract(picture, 4, means, tmp_path / "b.npy")
    with pytest.raises(InputError, match="of 5 images"):
        extract(picture, 5, means, tmp_path / "b.npy")


def test_feature_paths_tell_their_parts_apart_and_stay_in_the_cache(tmp_path):
    path = feature_path(tmp_path, "flickr8k-1a2b", "train", "efficientnet_lite0", "squash-224")
    assert path.is_relative_to(tmp_path)
    assert path.suffix == ".npy"
    parts = ["ab", "c", "d", "e"]
    moved = ["a", "bc", "d", "e"]
    assert feature_path(tmp_path, *parts) != feature_path(tmp_path, *moved)
    for bad in ("..", "a/b", "", ".hidden", "a b", "a\n"):
        with pytest.raises(InputError, match="filed under"):
            feature_path(tmp_path, "fingerprint", bad, "encoder", "none")


@pytest.mark.parametrize(
    ("mode", "stored", "seen"),
    [
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("L", 90, (90, 90, 90)),
        ("1", 1, (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("LA", (0, 51), (204, 204, 204)),
        ("I;16", 257 * 40, (40, 40, 40)),
        ("P", 1, (200, 100, 0)),
    ],
)
def test_every_mode_becomes_rgb(tmp_path, mode, stored, seen):
    photo = Image.new(mode, (6, 6), stored)
    if mode == "P":
        photo.putpalette([0, 0, 0, 200, 100, 0])
    path = tmp_path / "a.png"
    photo.save(path)
    array = read_photo(path, 8)
    assert array.shape == (8, 8, 3)
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, np.broadcast_to(np.array(seen, np.uint8), (8, 8, 3)))


def test_transparent_palettes_and_cmyk(tmp_path):
    clear = Image.new("P", (6, 6), 1)
    clear.putpalette([0, 0, 0, 200, 100, 0])
    clear.save(tmp_path / "a.gif", transparency=1)
    assert read_photo(tmp_path / "a.gif", 6).min() == 255
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    assert np.abs(read_photo(tmp_path / "a.jpg", 8).astype(int) - [[[255, 0, 0]]]).max() < 5


def test_a_photo_of_the_right_size_is_untouched(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(array).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png", 32), array)
    Image.fromarray(array).save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as photo:
        np.testing.assert_array_equal(read_photo(tmp_path / "a.jpg", 32), np.array(photo))


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_photos_are_turned_upright_and_squashed_not_cropped(tmp_path, suffix):
    array = np.zeros((600, 1200, 3), np.uint8)
    array[:, :600, 0] = 255  # left half red
    array[:, 600:, 2] = 255  # right half blue
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(array).save(path, quality=95)
    squashed = read_photo(path, 60).astype(int)
    assert np.abs(squashed[:, :25] - [[[255, 0, 0]]]).max() < 10
    assert np.abs(squashed[:, 35:] - [[[0, 0, 255]]]).max() < 10
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me right by 90 degrees": the left becomes the top
    Image.fromarray(array).save(path, quality=95, exif=exif)
    upright = read_photo(path, 60).astype(int)
    assert np.abs(upright[:25] - [[[255, 0, 0]]]).max() < 10
    assert np.abs(upright[35:] - [[[0, 0, 255]]]).max() < 10


def test_bad_photos_are_named(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    with pytest.raises(InputError, match=r"no photo .*a\.jpg"):
        read_photo(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.jpg is empty"):
        read_photo(path)
    path.write_text("<html>not found</html>")
    with pytest.raises(InputError, match=r"a\.jpg cannot be read"):
        read_photo(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a\.jpg cannot be read"):
        read_photo(path)
    path.write_bytes(whole)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match=r"a\.jpg is too large"):
        read_photo(path)
