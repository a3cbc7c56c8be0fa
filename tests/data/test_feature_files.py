"""Features that a user has become a split's images, in its order; what is wrong is told."""

import json

import numpy as np
import pytest
from small_runs import train_here

from capjax import caption
from capjax.data.feature_files import collect, feature_files
from capjax.data.photo_files import PhotoFiles
from capjax.data.prepare import encoder_named, prepare
from capjax.data.split import Split
from capjax.errors import InputError

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
        (lambda f: np.save(f / "17.npy", np.ones((4, 5), int)), "should be floats"),
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


def test_a_run_sees_features_of_files(recipe, photos, tmp_path, capsys):
    """The colours of the photos, as regions: an attention captioner says what they are."""
    rows = json.loads((photos / "captions.json").read_text())
    colours = {"red": [1.0, 0, 0], "blue": [0, 0, 1.0]}
    for name, row in rows.items():
        (colour,) = {c for c in colours if c in row["captions"][0]}
        features = np.tile(np.array(colours[colour]), (4, 1)) + RNG.normal(0, 0.01, (4, 3))
        np.save(tmp_path / f"{name.removesuffix('.png')}.npy", features)
    encoder = f"files:{tmp_path}"
    config = recipe(**{"data.encoder": encoder, "cell": "att2in", "mle.epochs": 60.0})
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
