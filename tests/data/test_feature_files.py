"""Features that a user has become a split's images, in its order; what is wrong is told."""

import json
import unicodedata

import numpy as np
import pytest
from small_runs import train_here

from capjax import caption
from capjax.data.feature_files import collect, feature_files
from capjax.data.photo_files import PhotoFiles
from capjax.data.prepare import prepare
from capjax.data.split import Split
from capjax.errors import InputError
from capjax.models.encoders import encoder_named

RNG = np.random.default_rng(0)


def split_of(count, names=()):
    ids = tuple(names) or tuple(str(7 * i + 3) for i in range(count))
    image = PhotoFiles(tuple(f"/nowhere/photo{i}.jpg" for i in range(count)))
    return Split(ids, tuple(("a dog",) for _ in ids), image)


def write(folder, features, names, ending="npy", **arrays):
    folder.mkdir(exist_ok=True)
    for name, x in zip(names, features, strict=True):
        if ending == "npy":
            np.save(folder / f"{name}.npy", x)
        else:
            np.savez(folder / f"{name}.npz", feat=x, **arrays)


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 2, 5)])
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_files_by_id_or_by_photo_in_the_order_of_the_split(shape, ending, tmp_path, monkeypatch):
    monkeypatch.setattr("capjax.data.feature_files.BATCH", 4)
    features, split = RNG.normal(size=(10, *shape)), split_of(10)
    names = [split.ids[i] if i % 2 else f"photo{i}" for i in range(10)]
    order = RNG.permutation(10)
    write(tmp_path / "f", features[order], [names[i] for i in order], ending, boxes=np.eye(3))
    source = feature_files(str(tmp_path / "f"))
    got = collect(source, split, tmp_path / "val.npy", "val")
    kept = np.float32 if len(shape) == 1 else np.float16
    wanted = features.reshape(10, -1, 5) if len(shape) == 3 else features
    np.testing.assert_array_equal(got, wanted.astype(kept))
    again = collect(source, split, tmp_path / "val.npy", "val")
    np.testing.assert_array_equal(again, got)
    write(tmp_path / "f", features[:1] + 1, [names[0]], ending)
    assert feature_files(str(tmp_path / "f")).name != source.name


COCO = tuple(f"/nowhere/COCO_val2014_{n:012d}.jpg" for n in (42, 43))


@pytest.mark.parametrize(
    ("ids", "photos", "names"),
    [
        (("42", "43"), COCO, ("000000000042", "000000000043")),
        (("42", "43"), COCO, ("COCO_val2014_000000000042.jpg", "coco_43")),
        (("42", "43"), COCO, ("42", "COCO_val2014_000000000043")),
        (("43", "42"), ("/nowhere/a.jpg", "/nowhere/b.jpg"), ("000000000043", "coco_42")),
        (("7", "8"), COCO, ("000000000042", "000000000043")),
        (("COCO_val2014_000000000042.jpg", "COCO_val2014_000000000043.jpg"), COCO, ("42", "43")),
        (("0", "1"), ("/nowhere/a.jpg", "/nowhere/b.jpg"), ("a.jpg", "b.jpg")),
        (("x/a.jpg", "x/a.png"), ("/nowhere/a.jpg", "/nowhere/a.png"), ("a.jpg", "a.png")),
    ],
)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_files_called_by_a_photos_whole_name_or_by_cocos_number(
    ids, photos, names, ending, tmp_path
):
    features = np.eye(2, 3)
    write(tmp_path / "f", features, names, ending)
    split = Split(ids, (("a dog",),) * 2, PhotoFiles(photos))
    got = collect(feature_files(str(tmp_path / "f")), split, tmp_path / "val.npy", "val")
    np.testing.assert_array_equal(got, features)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["42", "COCO_val2014_000000000042", "43"], "of image 42, 42.npy and COCO.*; remove one"),
        (["000000000042", "COCO_val2014_000000000042.jpg", "43"], "of image 42.*; remove one"),
        (["43", "42.jpg"], "no features of image 42: there is no 42.npy or COCO_val2014_0+42.npy"),
        (["000000000007", "43"], "no features of image 42"),
    ],
)
def test_cocos_number_twice_or_of_another_is_refused(names, told, tmp_path):
    write(tmp_path / "f", np.ones((len(names), 3)), names)
    split = Split(("42", "43"), (("a dog",),) * 2, PhotoFiles(COCO))
    with pytest.raises(InputError, match=told):
        collect(feature_files(str(tmp_path / "f")), split, tmp_path / "val.npy", "val")


def drop(path):
    path.unlink()


def damaged(path):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda f: (f / "10.npy").unlink(),
            "no features of image 10: there is no 10.npy or",
        ),
        (lambda f: damaged(f / "17.npy"), "17.npy"),
        (lambda f: np.save(f / "17.npy", np.ones((3, 5))), r"are \[3, 5\] where others are \[4, 5"),
        (lambda f: np.save(f / "17.npy", np.full((4, 5), 1e6)), "not finite as float16"),
        (lambda f: np.save(f / "17.npy", np.full((4, 5), 1e39)), "not finite as float16"),
        (lambda f: np.save(f / "17.npy", np.ones((4, 5), int)), "should be floats"),
        (
            lambda f: np.save(f / "17.npy", np.array({"features": np.ones(5)})),
            "17.npy are a pickled object, .* save the array in it alone",
        ),
        (
            lambda f: np.savez(f / "17.npz", feat=np.array({"features": 1})) or drop(f / "17.npy"),
            "17.npz are a pickled object",
        ),
        (lambda f: np.save(f / "3.npy", np.ones((1, 4, 5, 2))), "should be floats"),
        (lambda f: (f / "17.npy").write_bytes(b""), "17.npy"),
    ],
)
def test_files_that_will_not_do_are_named(spoil, told, tmp_path):
    split = split_of(5)
    write(tmp_path / "f", RNG.normal(size=(5, 4, 5)), split.ids)
    spoil(tmp_path / "f")
    with pytest.raises(InputError, match=told):
        collect(feature_files(str(tmp_path / "f")), split, tmp_path / "val.npy", "val")
    assert not (tmp_path / "val.npy").exists()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        # Photos 1.jpg, 2.jpg, ... of images 0, 1, ...: by its id each would have its neighbour's.
        ([f"{i + 1}.npy" for i in range(5)], "two features of image 1, 1.npy and 2.npy"),
        ([f"{i}.npy" for i in range(6)], "two features of image 0, 0.npy and 1.npy"),
        (["0.npy", "0.npz"], "0.npy and 0.npz; remove one"),
        (["1.npy", "2.npy", "0.npy"], "two features of image 0"),
        # Each image has one file by some name, and it is another's, too.
        (["1.npy", "3.npy", "4.npy", "5.npy"], "1.npy are called like the images 0 and 1"),
    ],
)
def test_a_file_that_may_be_of_two_images_is_no_ones(names, told, tmp_path):
    (tmp_path / "f").mkdir()
    for name in names:
        save = np.save if name.endswith("npy") else np.savez
        save(tmp_path / "f" / name, np.ones(3))
    split = Split(
        tuple(map(str, range(5))),
        (("a dog",),) * 5,
        PhotoFiles(tuple(f"/nowhere/{i + 1}.jpg" for i in range(5))),
    )
    with pytest.raises(InputError, match=told):
        collect(feature_files(str(tmp_path / "f")), split, tmp_path / "val.npy", "val")
    assert not (tmp_path / "val.npy").exists()


def test_a_file_is_of_one_image_in_all_splits(recipe, photos, tmp_path):
    """Photo x/1.png of one split and y/1.png of the other would share 1.npy."""
    folder = tmp_path / "photos"
    captions = {}
    for split in ("train", "val"):
        (folder / split).mkdir(parents=True)
        for name in ("1.png", "2.png"):
            (folder / split / name).write_bytes((photos / "1.png").read_bytes())
            captions[f"{split}/{name}"] = {"captions": ["a wall"], "split": split}
    (folder / "captions.json").write_text(json.dumps(captions))
    write(tmp_path / "f", RNG.normal(size=(2, 3)), ["1", "2"])
    with pytest.raises(InputError, match=r"like the images train/1\.png and val/1\.png"):
        prepare("folder", str(folder), tmp_path / "c", encoder_named(f"files:{tmp_path / 'f'}"))


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"boxes": np.zeros((4, 4)), "feat": np.ones((4, 5))}, None),
        ({"boxes": np.zeros((4, 4)), "features": np.ones((4, 5)), "cls": np.zeros(4)}, None),
        ({"bbox": np.zeros((4, 4)), "num_bbox": 4, "x": np.ones((4, 5))}, None),
        ({"mine": np.ones((4, 5))}, None),
        ({"boxes": np.zeros((4, 4)), "mine": np.ones((4, 5))}, "hold boxes, mine; call the one"),
        ({"feat": np.zeros((4, 4)), "x": np.ones((4, 5))}, "hold feat, x; call the one"),
        ({}, "hold no array"),
    ],
)
def test_of_several_arrays_the_one_called_features_is_taken(arrays, told, tmp_path):
    (tmp_path / "f").mkdir()
    np.savez(tmp_path / "f" / "3.npz", **arrays)
    source = feature_files(str(tmp_path / "f"))
    if told:
        with pytest.raises(InputError, match=told):
            collect(source, split_of(1), tmp_path / "val.npy", "val")
    else:
        np.testing.assert_array_equal(
            collect(source, split_of(1), tmp_path / "val.npy", "val"), np.ones((1, 4, 5))
        )


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (np.array([1.0, np.nan]), "not finite as float32"),
        (np.array([1.0, np.inf], np.float16), "not finite as float32"),
        (np.array([1.0, 1e39]), "not finite as float32"),
        (np.array([[1.0, -70_000]], np.float32), "not finite as float16"),
        (np.full((2, 3), 1e-9), "too small for float16, all become 0"),
        (np.array([1.0 + 1j]), "should be floats"),
        (np.array([True]), "should be floats"),
        (np.array(["1.0"]), "should be floats"),
        (np.zeros((0, 3)), "should be floats"),
    ],
)
@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_numbers_that_would_not_come_through_are_refused(features, told, ending, tmp_path):
    write(tmp_path / "f", [features], ["3"], ending)
    with pytest.raises(InputError, match=told):
        collect(feature_files(str(tmp_path / "f")), split_of(1), tmp_path / "val.npy", "val")


def test_accents_in_a_files_name_are_one_letter_or_two(tmp_path):
    composed, apart = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
    write(tmp_path / "f", [np.ones(3)], [apart])
    source = feature_files(str(tmp_path / "f"))
    assert collect(source, split_of(1, [composed]), tmp_path / "v.npy", "val")[0, 0] == 1
    write(tmp_path / "f", [np.ones(3)], [composed])
    with pytest.raises(InputError, match="twice, its accents"):
        feature_files(str(tmp_path / "f"))


def test_an_id_leads_nowhere_else(tmp_path):
    write(tmp_path, [np.ones(3)], ["secret"])
    write(tmp_path / "f", [np.ones(3)], ["a"])
    with pytest.raises(InputError, match="no features of image"):
        collect(
            feature_files(str(tmp_path / "f")), split_of(1, ["../secret"]), tmp_path / "v", "val"
        )


@pytest.mark.parametrize("made", [False, True])
def test_folders_without_features_are_named(made, tmp_path):
    folder = tmp_path / "f"
    if made:
        folder.mkdir()
    with pytest.raises(InputError, match="f"):
        encoder_named(f"files:{folder}")


@pytest.mark.slow
def test_a_run_sees_features_of_files(recipe, photos, tmp_path, capsys):
    """The colours of the photos, as regions: an attention captioner says what they are."""
    rows = json.loads((photos / "captions.json").read_text())
    colours = {"red": [1.0, 0, 0], "blue": [0, 0, 1.0]}
    for name, row in rows.items():
        (colour,) = {c for c in colours if c in row["captions"][0]}
        features = np.tile(np.array(colours[colour]), (4, 1)) + RNG.normal(0, 0.01, (4, 3))
        np.save(tmp_path / f"{name.removesuffix('.png')}.npy", features)
    encoder = f"files:{tmp_path}"
    often = {"validate_every": 240, "save_every": 240}
    changes = {"data.encoder": encoder, "cell": "att2in", "mle.epochs": 60.0}
    config = recipe(**changes | often)
    scores = train_here(config, tmp_path / "run")
    assert scores["cider_d"] > 1
    said = json.loads((tmp_path / "run" / "captions.json").read_text())
    for row in said:
        (colour,) = {c for c in colours if c in row["references"][0]}
        assert colour in row["caption"]
    assert caption.main([f"--workdir={tmp_path / 'run'}", str(photos / "0.png")]) == 2
    assert "features that were made elsewhere" in capsys.readouterr().err
    prepared = prepare("folder", str(photos), None, encoder_named(encoder))
    assert prepared.images["val"].shape == (4, 4, 3)
