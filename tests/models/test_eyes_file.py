"""The eyes that are shipped: their file, and the name that stands for what they see."""

import hashlib
import shutil
import zipfile

import jax
import numpy as np
import pytest

from capjax.data import scenes
from capjax.data.scenes.drawing import BACKGROUNDS, SIDE
from capjax.data.scenes.sight import OBJECTS
from capjax.errors import InputError
from capjax.models.encoders import encoder_named
from capjax.models.eyes import (
    FEATURES,
    REGIONS,
    SIDES,
    THING,
    TRAINED,
    Eyes,
    eyes,
    read_eyes,
    write_eyes,
)
from capjax.run.trained import image_kind

# Features are cached under the encoder's name, and runs are known by it. Where either of these
# fails, give what the new eyes see another name than eyes64: under this one caches hold the old.
EYES64_FILE = "14d37e92ed79757049fd59e1f1ca8f80ba9e4e74525a297e86a87f4330a734ef"
EYES64_SEES = (-9.474, -1.568)


def test_the_name_stands_for_one_file_and_what_is_made_of_it():
    assert hashlib.sha256(TRAINED.read_bytes()).hexdigest() == EYES64_FILE
    encoder = encoder_named("eyes64")
    assert (encoder.name, encoder.size) == ("eyes64", SIDE)
    drawn = [scenes.random_scene(np.random.default_rng(i)) for i in range(2)]
    found = np.asarray(encoder.apply(np.stack([scenes.draw(scene) for scene in drawn])))
    assert found.shape == (2, FEATURES)
    # Each number counts by its place, so that none may take another's.
    np.testing.assert_allclose(found @ np.cos(np.arange(FEATURES)), EYES64_SEES, atol=0.01)
    assert image_kind("eyes64", found.shape[1:]) == ("features", FEATURES)
    objects = encoder_named("eyes64_objects")
    each = np.asarray(objects.apply(np.stack([scenes.draw(scene) for scene in drawn])))
    assert (objects.name, each.shape) == ("eyes64_objects", (2, REGIONS, FEATURES))
    np.testing.assert_allclose(each.mean(1), found, atol=1e-5)
    # An object's own numbers are in its own columns: no other region has any there.
    own = each[:, :, len(BACKGROUNDS) :][:, :, : OBJECTS * (THING + SIDES)]
    own = own.reshape(2, REGIONS, OBJECTS, -1)
    assert all(not own[:, i, j].any() for i in range(REGIONS) for j in range(OBJECTS) if i != j)


def test_the_file_is_small_and_holds_arrays_alone():
    assert TRAINED.stat().st_size <= 300_000
    with zipfile.ZipFile(TRAINED) as file:
        assert all(name.endswith(".npy") for name in file.namelist())
    with np.load(TRAINED, allow_pickle=False) as file:
        assert {file[name].dtype for name in file.files} == {np.dtype(np.float16)}
        assert all(np.isfinite(file[name]).all() for name in file.files)


def test_what_is_written_is_read_again(tmp_path, key):
    blank = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    params = jax.jit(lambda key: Eyes().init(key, blank, method=Eyes.look))(key)
    rounded = jax.tree.map(lambda x: np.float32(np.float16(x)), params)
    for made, expected in ((params, rounded), (rounded, rounded), (read_eyes(), read_eyes())):
        write_eyes(made, tmp_path / "eyes.npz")
        again = read_eyes(tmp_path / "eyes.npz")
        assert jax.tree.structure(again) == jax.tree.structure(expected)
        jax.tree.map(np.testing.assert_array_equal, again, expected)


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    """One bit of one weight is another."""
    found = bytearray(path.read_bytes())
    found[len(found) // 2] ^= 64
    path.write_bytes(found)


def of_text(path):
    path.write_text("eyes")


def one_array(path):
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").rename(path)


def pickled(path):
    np.savez(path, params=np.array([{"a": 1}], object))


def named_otherwise(path):
    with np.load(path) as file:
        np.savez(path, **{name.upper(): file[name] for name in file.files})


def wider(path):
    with np.load(path) as file:
        np.savez(path, **{name: np.stack([file[name]] * 2) for name in file.files})


def of_words(path):
    with np.load(path) as file:
        np.savez(path, **{name: np.full(file[name].shape, "x") for name in file.files})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        *((how, "are damaged") for how in (cut, emptied, flipped, of_text, one_array, pickled)),
        *((how, "are not those of this capjax") for how in (named_otherwise, wider)),
        (of_words, "are damaged"),
        (lambda path: path.unlink(), "are damaged"),
    ],
)
def test_a_file_that_is_no_eyes_is_refused_in_a_sentence(spoil, words, tmp_path):
    path = tmp_path / "eyes.npz"
    shutil.copy(TRAINED, path)
    spoil(path)
    with pytest.raises(InputError, match=f"^the eyes {path} {words}") as error:
        eyes(path)
    told = str(error.value)
    assert "\n" not in told
    assert told.endswith(("; install capjax again", "; install it again"))
