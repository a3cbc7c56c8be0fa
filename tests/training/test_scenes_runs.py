"""Runs on scenes: told from near twins, and by classes, why an image is of one and not another."""

import json
import runpy
from collections import Counter
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import train_here

from capjax import caption, evaluate
from capjax.data import scenes
from capjax.data.prepare import prepare
from capjax.data.split import Split
from capjax.decoding.suppressor import emitter_suppressor
from capjax.errors import InputError
from capjax.evaluation.justification import justifies, of_likeness, of_scenes
from capjax.models.encoders import encoder_named
from capjax.run.trained import open_run

SMALL = {"dim": 16, "mle.epochs": 1.25, "mle.batch": 16, "log_every": 5, "report_images": 2}


ROUND = "plain circle"


@pytest.mark.parametrize(
    ("text", "target", "distractor", "answer"),
    [
        ("a red circle", f"small red {ROUND}", f"small blue {ROUND}", True),
        ("a circle", f"small red {ROUND}", f"small blue {ROUND}", False),
        ("a circle", f"small red {ROUND}", "small red plain square", True),
        ("a small red shape", f"small red {ROUND}", "small red plain square", False),
        ("a little red circle", f"small red {ROUND}", f"large red {ROUND}", True),
        ("a solid circle", f"small red {ROUND}", "small red dotted circle", True),
        ("a star left of two red circles", f"small red {ROUND}", f"small pink {ROUND}", True),
        (
            "two shapes. a star left of a red shape.",
            f"small red {ROUND}",
            f"small pink {ROUND}",
            True,
        ),
        ("red. two shapes. a circle.", f"small red {ROUND}", f"small blue {ROUND}", False),
        ("red red red", f"small red {ROUND}", f"small blue {ROUND}", False),  # no caption
    ],
)
def test_what_justifies_a_class(text, target, distractor, answer):
    assert justifies(text, target, distractor) is answer


def test_a_class_of_scenes_is_asked_beside_one_that_is_alike():
    concepts = tuple(range(len(scenes.CONCEPTS)))
    split = Split(
        tuple(map(str, concepts)), (("x",),) * len(concepts), lambda i: None, None, concepts
    )
    asked, count = of_scenes(split, scenes.CONCEPTS), Counter[str]()
    for mine, other in zip(asked.target, asked.distractor, strict=True):
        words = [scenes.CONCEPTS[i].split() for i in (mine, other)]
        unlike = [a for a, x, y in zip(scenes.ATTRIBUTES, *words, strict=True) if x != y]
        assert len(unlike) == 1
        count[unlike[0]] += 1
    # Each of the four a quarter of 432 times: within four standard errors.
    assert all(abs(n - 108) < 4 * (432 * 0.25 * 0.75) ** 0.5 for n in count.values())


def test_other_images_are_asked_beside_the_class_whose_images_are_most_alike():
    images = np.array([[0.0], [1.0], [9.0], [10.0], [11.0], [3.0]])
    split = Split(tuple("abcdef"), (("x",),) * 6, lambda i: None, None, (0, 0, 4, 4, 4, 2))
    asked = of_likeness(split, images, 5)
    np.testing.assert_array_equal(asked.distractor, [2, 2, 2, 2, 2, 0])
    one = split._replace(concepts=(1,) * 6)
    with pytest.raises(InputError, match="images of one class"):
        of_likeness(one, images, 5)


@pytest.fixture(scope="module")
def few_scenes(caches):
    """Scenes in numbers that take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        few = {"train": 96, "val": 12, "test": 6}
        patch.setattr("capjax.data.scenes.builder.SIZES", few)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory, few_scenes) -> list[Path]:
    """A run that sees, and one that does not."""
    path = Path(__file__).parents[2] / "configs" / "justification.py"
    found = []
    for name, encoder in (("seeing", "pixels64"), ("blind", "none")):
        config = runpy.run_path(str(path))["get_config"]()
        config.update_from_flattened_dict(SMALL | {"data.encoder": encoder})
        workdir = tmp_path_factory.mktemp("justification") / name
        train_here(config.to_dict() | {"stages": ["mle"]}, workdir)
        found.append(workdir)
    return found


def test_a_run_is_asked_and_its_answers_are_measured(runs, tmp_path, capsys):
    seeing, blind = runs
    command = [f"--workdir={seeing}", "--quick", "--justify", f"--out={tmp_path}"]
    marks = {}
    for more, mark in (
        ([], "l0.5"),
        (["--rationality=1"], "l1.0"),
        ([f"--blind={blind}"], "semi-blind-l0.5"),
    ):
        assert evaluate.main([*command, *more]) == 0
        rows = json.loads((tmp_path / f"captions-val-justify-{mark}.json").read_text())
        scores = json.loads((tmp_path / f"scores-val-justify-{mark}.json").read_text())
        for row in rows:
            told = row["caption"], row["target"], row["distractor"]
            assert row["justifies"] is justifies(*told)
        marks[mark] = np.mean([row["justifies"] for row in rows])
        assert scores["justifies"] == marks[mark]
    plain = json.loads((seeing / "captions.json").read_text())
    said = json.loads((tmp_path / "captions-val-justify-l1.0.json").read_text())
    assert [row["caption"] for row in plain] == [row["caption"] for row in said]
    triplets = [
        {
            "image": row["id"],
            "target": row["target"],
            "distractor": row["distractor"],
            "captions": ["a red circle", "a circle"],
        }
        for row in rows[:3]
    ]
    (tmp_path / "triplets.json").write_text(json.dumps(triplets))
    assert evaluate.main([*command, f"--triplets={tmp_path / 'triplets.json'}"]) == 0
    asked = json.loads((tmp_path / "captions-val-justify-triplets-l0.5.json").read_text())
    assert [row["references"] for row in asked] == [["a red circle", "a circle"]] * 3
    swapped = triplets[0] | {
        "target": triplets[0]["distractor"],
        "distractor": "small red plain star",
    }
    elsewhere = triplets[0] | {"image": "test-00000"}
    for name, wrong in (("swapped", swapped), ("elsewhere", elsewhere)):
        (tmp_path / f"{name}.json").write_text(json.dumps([wrong]))
    for flags, told in (
        ([f"--triplets={tmp_path / 'swapped.json'}"], "exchange target and distractor"),
        ([f"--triplets={tmp_path / 'elsewhere.json'}"], "take --split=test"),
        ([f"--blind={seeing}"], "sees images"),
        (["--distractors=1"], "take one"),
        (["--decoding=greedy"], "searched by a beam"),
    ):
        capsys.readouterr()
        assert evaluate.main([*command, *flags]) == 2
        assert told in capsys.readouterr().err
    assert evaluate.main([*command[:2], "--distractors=1"]) == 2
    assert "--justify" in capsys.readouterr().err


def test_a_photo_is_captioned_as_of_a_class_and_not_of_another(runs, tmp_path, capsys):
    from PIL import Image

    scene = scenes.random_scene(np.random.default_rng(0))
    Image.fromarray(scenes.draw(scene)).save(tmp_path / "photo.png")
    photo, run = str(tmp_path / "photo.png"), f"--workdir={runs[0]}"
    said = {}
    both = ["--concept=Large_Red_plain circle", "--against=large blue plain circle"]
    for name, flags in (
        ("plain", ["--concept=large red plain circle"]),
        ("unheeding", [*both, "--rationality=1"]),
        ("against", [*both, "--rationality=0"]),
    ):
        assert caption.main([run, photo, *flags, "--json"]) == 0
        said[name] = json.loads(capsys.readouterr().out)["captions"][0]
    assert said["plain"]["caption"] == said["unheeding"]["caption"] != said["against"]["caption"]
    assert said["against"]["log_prob"] < said["plain"]["log_prob"]
    for flags, told in (
        ([], "--concept"),
        (["--concept=large red plain circel"], "did you mean large red plain circle"),
        (["--concept=large red plain circle", "--distractor", photo], "no --distractor"),
        (["--against=large blue plain circle"], "without --concept"),
        (["--concept=large red plain circle", "--against=Large Red plain Circle"], "are one class"),
    ):
        assert caption.main([run, photo, *flags]) == 2
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_images_of_scenes_are_told_from_their_near_twins(few_scenes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("capjax.evaluation.told_apart.RATIONALITIES", (0.5, 0.3))
    path = Path(__file__).parents[2] / "configs" / "mle.py"
    config = runpy.run_path(str(path))["get_config"]()
    config.update_from_flattened_dict(SMALL)
    train_here(config.to_dict() | {"stages": ["mle"]}, tmp_path / "run")
    command = [f"--workdir={tmp_path / 'run'}", "--quick", "--distractors=4", "--twins"]
    assert evaluate.main([*command, "--rationality=0.5"]) == 0
    assert "identifies" in capsys.readouterr().out
    encoder = encoder_named("eyes64_objects")
    run, prepared = open_run(tmp_path / "run"), prepare("scenes", None, None, encoder)
    split, images = prepared.splits["val"], prepared.images["val"]
    scores = json.loads((tmp_path / "run" / "scores-val-twins4-l0.5.json").read_text())
    rows = json.loads((tmp_path / "run" / "captions-val-twins4-l0.5.json").read_text())
    marks = [
        scenes.identifies(row["caption"], about["scene"], about["distractors"])
        for row, about in zip(rows, split.truth, strict=True)
    ]
    assert scores["identifies"] == np.mean(marks)
    # The first few are what is said of each beside its own four twins.
    common = {"width": 3, "max_len": 16, "forbid_unknown": True}  # as the recipe has it
    for row, image, about in zip(rows[:3], images, split.truth, strict=False):
        twins = encoder.apply(np.stack([scenes.draw(other) for other in about["distractors"]]))
        found = jax.jit(partial(emitter_suppressor, run.speaker, **common))(
            run.params, {"image": image[None]}, {"image": twins[None]}
        )
        assert run.vocabulary.decode(found.words[0, 0]) == row["caption"]
    page = (tmp_path / "run" / "distractors-val-twins4-l0.5.html").read_text()
    assert page.count("twin 4") >= 6  # four distractors of each image that is shown
    assert not list((tmp_path / "run").glob("distractors-val-twins*.json"))  # they have no ids
    for number in (5, -1):
        assert evaluate.main([*command[:2], f"--distractors={number}", "--twins"]) == 2
        assert "has 4 near twins" in capsys.readouterr().err
