"""Scenes are drawn, twinned and stored as described, and always the same."""

import concurrent.futures
import itertools
import json
import multiprocessing
import pathlib
from typing import Any

import numpy as np
import pytest

from capjax.data import scenes
from capjax.data.scenes.builder import example
from capjax.data.scenes.drawing import BACKGROUNDS, COLOURS, RADII, SHAPES, TEXTURES
from capjax.errors import InputError

VERSION_1_CAPTIONS = [
    "a picture of a diamond",
    "a purple diamond",
    "a brown star right of a purple diamond",
    "a purple diamond on white",
    "there is a medium plain purple diamond on white",
]
VERSION_1_PIXEL_SUM = 2871458

SMALL = {"train": 12, "val": 3, "test": 5}


def alone(shape: str, colour: str, size: str, texture: str, ground: str) -> dict[str, Any]:
    thing = {"shape": shape, "colour": colour, "size": size, "texture": texture, "x": 32, "y": 30}
    return {"background": ground, "objects": [thing]}


def changed(one: np.ndarray, other: np.ndarray) -> int:
    """Pixels that anyone can see differ."""
    return int((abs(one.astype(int) - other.astype(int)).max(-1) > 48).sum())


def random_scenes(count: int) -> list[tuple[np.random.Generator, dict[str, Any]]]:
    streams = [np.random.default_rng(i) for i in range(count)]
    return [(rng, scenes.random_scene(rng)) for rng in streams]


def test_any_two_looks_of_an_object_differ_visibly() -> None:
    for ground, size in itertools.product(BACKGROUNDS, RADII):
        looks = {
            key: scenes.draw(alone(*key[:2], size, key[2], ground))
            for key in itertools.product(SHAPES, COLOURS, TEXTURES)
        }
        for (one, a), (other, b) in itertools.combinations(looks.items(), 2):
            if sum(x != y for x, y in zip(one, other, strict=True)) == 1:
                assert changed(a, b) >= 10, (ground, size, one, other)


def test_an_object_is_as_large_and_as_coloured_as_it_says() -> None:
    for shape, (colour, rgb) in itertools.product(SHAPES, COLOURS.items()):
        pictures = [scenes.draw(alone(shape, colour, size, "plain", "black")) for size in RADII]
        areas = [int((picture == rgb).all(-1).sum()) for picture in pictures]
        assert areas == sorted(areas)
        assert areas[0] >= 60
        assert areas[1] > 1.5 * areas[0]
        assert areas[2] > 1.5 * areas[1]
        rows, columns = np.nonzero((pictures[2] == rgb).all(-1))
        assert abs(columns.mean() + 0.5 - 32) < 0.1  # pixel centres lie at one half
        assert abs((rows.min() + rows.max() + 1) / 2 - 30) <= 2


def test_no_background_looks_like_an_object() -> None:
    for ground, colour in itertools.product(BACKGROUNDS.values(), COLOURS.values()):
        assert abs(np.subtract(ground, colour)).max() > 60


def test_objects_stay_inside_and_apart() -> None:
    counts = set()
    for _, scene in random_scenes(200):
        objects = scene["objects"]
        counts.add(len(objects))
        for each in objects:
            radius = RADII[each["size"]]
            assert radius < min(each["x"], each["y"])
            assert max(each["x"], each["y"]) < 64 - radius
        for one, other in itertools.combinations(objects, 2):
            apart = np.hypot(one["x"] - other["x"], one["y"] - other["y"])
            assert apart >= RADII[one["size"]] + RADII[other["size"]]
    assert counts == {1, 2, 3, 4}


def test_the_main_object_is_the_largest_then_the_most_central() -> None:
    for _, scene in random_scenes(200):
        objects = scene["objects"]
        main = objects[scenes.main_object(scene)]
        for each in objects:
            assert RADII[each["size"]] <= RADII[main["size"]]
            if each["size"] == main["size"]:
                away, least = (np.hypot(o["x"] - 32, o["y"] - 32) for o in (each, main))
                assert away >= least


def test_the_class_of_a_scene_names_its_main_object() -> None:
    assert len(scenes.CONCEPTS) == len(set(scenes.CONCEPTS)) == 3 * 8 * 3 * 6
    for _, scene in random_scenes(50):
        assert scenes.holds(f"a {scenes.CONCEPTS[scenes.concept(scene)]}", scene)
        main = scene["objects"][scenes.main_object(scene)]
        alone = {**scene, "objects": [main]}
        assert scenes.concept(alone) == scenes.concept(scene)


def edits(scene: dict[str, Any], other: dict[str, Any]) -> list[tuple[int, str]]:
    """(object, attribute) of all that differs; the background is object -1."""
    found = [(-1, "background")] if scene["background"] != other["background"] else []
    for i, (a, b) in enumerate(zip(scene["objects"], other["objects"], strict=True)):
        found += [
            (i, name) for name in ("shape", "colour", "size", "texture") if a[name] != b[name]
        ]
        found += [(i, "position")] if (a["x"], a["y"]) != (b["x"], b["y"]) else []
    return found


def test_distractors_differ_visibly_in_one_attribute_and_mostly_of_the_main_object() -> None:
    attributes = set()
    for rng, scene in random_scenes(250):
        distractors = scenes.random_distractors(rng, scene)
        assert len(distractors) == 4
        assert len({json.dumps(each) for each in distractors}) == 4
        changes = []
        for each in distractors:
            (change,) = edits(scene, each)
            changes.append(change)
            assert changed(scenes.draw(scene), scenes.draw(each)) >= 10
        assert sum(i == scenes.main_object(scene) for i, _ in changes) >= 2
        attributes |= {name for _, name in changes}
    assert attributes == {"shape", "colour", "size", "texture", "position", "background"}


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        ({"background": "white"}, "objects"),
        (alone("hexagon", "red", "small", "plain", "white"), "hexagon"),
        (alone("circle", "red", "small", "plain", "mauve"), "mauve"),
        ({"background": "white", "objects": [{**alone("star", "red", "large", "plain", "white")[
            "objects"][0], "x": 3}]}, "move its centre"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(scene: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        scenes.draw(scene)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("cache")
    scenes.load(folder, sizes=SMALL)
    return folder


def test_what_is_built_reads_back_equal(cache: pathlib.Path) -> None:
    dataset = scenes.load(cache, sizes=dict(reversed(SMALL.items())))
    assert {name: len(split.ids) for name, split in dataset.splits.items()} == SMALL
    for name, split in dataset.splits.items():
        assert split.truth is not None
        assert len(set(split.ids)) == SMALL[name]
        for i in range(SMALL[name]):
            made = example(name, i)
            np.testing.assert_array_equal(split.image(i), made["image"])
            np.testing.assert_array_equal(split.image(i), scenes.draw(split.truth[i]["scene"]))
            assert split.captions[i] == tuple(made["captions"])
            assert split.truth[i] == {key: made[key] for key in ("scene", "distractors")}
            assert len(split.truth[i]["distractors"]) == (0 if name == "train" else 4)


def test_the_fingerprint_tells_datasets_apart(cache: pathlib.Path, tmp_path: pathlib.Path) -> None:
    same = scenes.load(tmp_path, sizes=SMALL)
    assert same.fingerprint == scenes.load(cache, sizes=SMALL).fingerprint
    reseeded = scenes.load(cache, sizes=SMALL, seed=1)
    larger = scenes.load(cache, sizes={**SMALL, "test": 6})
    assert len({same.fingerprint, reseeded.fingerprint, larger.fingerprint}) == 3
    np.testing.assert_array_equal(
        larger.splits["test"].image(4), same.splits["test"].image(4)
    )  # whatever the sizes
    assert reseeded.splits["test"].captions != same.splits["test"].captions


def test_the_version_is_raised_when_the_scenes_change() -> None:
    # Caches outlive the code: where this fails, raise CapjaxScenes.VERSION and update it.
    made = example("test", 7)
    assert made["captions"] == VERSION_1_CAPTIONS
    assert int(made["image"].sum(dtype=np.int64)) == VERSION_1_PIXEL_SUM


def test_a_build_cut_short_leaves_nothing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies_at_the_last(split: str, index: int, seed: int) -> dict[str, Any]:
        if (split, index) == ("test", 4):
            raise KeyboardInterrupt
        return example(split, index, seed)

    monkeypatch.setattr("capjax.data.scenes.builder.example", dies_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        scenes.load(tmp_path, sizes=SMALL)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert len(scenes.load(tmp_path, sizes=SMALL).splits["test"].ids) == 5


@pytest.mark.slow
def test_two_processes_may_build_at_once(tmp_path: pathlib.Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=spawn) as pool:
        seen = list(pool.map(fingerprint_of, [tmp_path, tmp_path]))
    assert seen[0] == seen[1]
    assert not list(tmp_path.glob("building-*"))


def fingerprint_of(cache: pathlib.Path) -> str:
    return scenes.load(cache, sizes={"train": 150}).fingerprint


@pytest.mark.parametrize("sizes", [{}, {"train": 0}, {"restval": 3}])
def test_sizes_that_make_no_dataset_are_refused(
    tmp_path: pathlib.Path, sizes: dict[str, int]
) -> None:
    with pytest.raises(InputError, match="dataset scenes"):
        scenes.load(tmp_path, sizes=sizes)


def test_a_cache_that_cannot_be_used_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be cached"):
        scenes.load(tmp_path / "file", sizes=SMALL)
    scenes.load(tmp_path, sizes={"test": 5})
    (records,) = tmp_path.glob("**/*.array_record*")
    records.write_bytes(records.read_bytes()[:100])
    with pytest.raises(InputError, match="delete that folder"):
        scenes.load(tmp_path, sizes={"test": 5})
