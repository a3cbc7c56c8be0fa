"""A run whose eyes learn first: what they are taught, what it leaves, what it refuses."""

import json
import os
import runpy
import signal
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from processes import same_end
from small_runs import train_here

from capjax.data import scenes
from capjax.data.scenes.layout import CHOICES
from capjax.data.scenes.sight import CELLS, seen
from capjax.errors import InputError
from capjax.models.eyes import look, read_eyes
from capjax.models.sight_truth import sights_right
from capjax.run import open_run
from capjax.training.begin import begin
from capjax.training.plan import Plan
from capjax.training.stage import Learnt
from capjax.training.stages import eyes as eyes_stage
from capjax.training.stopping import Interrupted

SMALL = {
    "dim": 16,
    "mle.epochs": 1.0,
    "mle.batch": 16,
    "eyes.epochs": 10.0,
    "eyes.batch": 16,
    "eyes.warmup": 5,
    "eyes.average": 0.8,
    "log_every": 5,
    "save_every": 10,
    "validate_every": 100,
    "report_images": 2,
}
FEW = {"train": 96, "val": 12, "test": 6}


@pytest.fixture(scope="module", autouse=True)
def few_scenes(caches):
    """Scenes in numbers that take seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capjax.data.scenes.builder.SIZES", FEW)
        yield


def recipe(**changes: object) -> dict:
    path = Path(__file__).parents[2] / "configs" / "eyes.py"
    config = runpy.run_path(str(path))["get_config"]()
    config.update_from_flattened_dict(SMALL | changes)
    return config.to_dict() | {"stages": list(config.stages)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("eyes") / "run"
    train_here(recipe(), workdir)
    return workdir


@pytest.mark.slow
def test_eyes_learn_and_say_nothing_and_a_captioner_goes_on_with_them(whole):
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["stage"] == "eyes" and "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    (last,) = [row for row in rows if row["stage"] == "eyes" and "val_all_seen" in row][-1:]
    names = {*CHOICES, "number", "background", "main", "all"}
    assert {f"val_{name}_seen" for name in names} <= last.keys()
    assert not any(name.startswith("val_nll") for name in last)
    assert {row["stage"] for row in rows} == {"eyes", "mle"}
    assert not list(whole.glob("*-after-eyes*"))
    assert len(json.loads((whole / "captions.json").read_text())) == FEW["val"]
    page = (whole / "report.html").read_text()
    assert "after eyes" not in page
    # The captioner went on from these eyes, and taught them further.
    taught, then = (open_run(whole, stage).params["params"] for stage in ("eyes", "mle"))
    assert jax.tree.structure(taught) == jax.tree.structure(then)
    assert eyes_apart(taught, then) < 0.2
    assert eyes_apart(taught, then) > 0


def eyes_apart(ours: dict, theirs: dict) -> float:
    """How far the eyes of two speakers lie apart, over the length of their parameters."""
    a, b = (
        np.concatenate([np.ravel(x) for x in jax.tree.leaves(one["see"])]) for one in (ours, theirs)
    )
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.slow
def test_a_run_cut_while_its_eyes_learn_ends_with_the_same_bits(whole, tmp_path):
    workdir = tmp_path / "run"
    log = workdir / "metrics.jsonl"

    def cut() -> None:
        while not log.exists() or '"stage": "eyes"' not in log.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=cut, daemon=True).start()
    with pytest.raises(Interrupted):
        train_here(recipe(), workdir)
    assert '"stage": "mle"' not in log.read_text()
    train_here(recipe(), workdir)
    same_end(workdir, whole)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """What the stages of a run share, before any has learnt, and the settings of the first."""
    plan = Plan(recipe())
    run, _, _ = begin(plan, tmp_path_factory.mktemp("begun"))
    return run, plan.stages[0].settings


def test_each_image_is_taught_once_an_epoch_by_its_own_truth(begun):
    run, settings = begun
    stage = eyes_stage.stage(run, settings)
    assert stage.per_epoch == FEW["train"]
    of = np.asarray(run.training.arrays["of"])
    rows = np.concatenate([stage.rows(step) for step in range(FEW["train"] // settings.batch)])
    images = of[rows]
    assert sorted(images) == list(range(FEW["train"]))
    found = seen([run.training.split.truth[i]["scene"] for i in images])
    for name, x in stage.beside["truth"].items():
        np.testing.assert_array_equal(x[images], found[name])
    for i in images[:5]:
        scene = run.training.split.truth[i]["scene"]
        np.testing.assert_array_equal(run.training.images[i], scenes.draw(scene))


def test_steps_of_the_stage_teach_eyes_and_leave_the_rest_of_the_speaker(begun, key):
    run, settings = begun
    stage = eyes_stage.stage(run, settings)
    state = jax.jit(lambda key: stage.init(key, Learnt()))(key)
    data = jax.tree.map(jnp.asarray, jax.device_get(run.training.arrays | stage.beside))
    first = stage.trained(state).speaker["params"]

    @jax.jit
    def step(state, rows):
        one = jax.vmap(stage.update, (None, None, 0, None), out_axes=None, axis_name="data")
        return one(state, data, rows[None], key)

    losses = []
    for number in range(20):
        with jax.numpy_dtype_promotion("standard"):  # of optax's Adam
            state, metrics = step(state, stage.rows(number))
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    last = stage.trained(state).speaker["params"]
    assert last.keys() == first.keys() > {"see"}
    for name in first.keys() - {"see"}:
        jax.tree.map(np.testing.assert_array_equal, last[name], first[name])
    assert eyes_apart(last, first) > 0.01


def test_what_eyes_get_right_is_counted_over_all_images(begun, monkeypatch):
    """Batches of 5 for 12 images: the last is filled up with what counts for nothing."""
    run, _ = begun
    monkeypatch.setattr(eyes_stage, "BATCH", 5)
    see = read_eyes()["params"]
    found = eyes_stage.eyes_validation(run, Learnt({"params": {"see": see}}))
    truth = seen([about["scene"] for about in run.validation.split.truth])
    right = sights_right(look({"params": see}, np.asarray(run.validation.images)), truth)
    objects = (truth["cell"] < CELLS).sum()
    expected = {
        f"val_{name}_seen": right["attributes"][i].sum() / objects for i, name in enumerate(CHOICES)
    }
    for name in ("number", "background", "main", "all"):
        expected[f"val_{name}_seen"] = right[name].mean()
    assert found.keys() == expected.keys()
    for name, share in expected.items():
        assert found[name] == pytest.approx(float(share)), name
    assert found["val_background_seen"] == 1  # and these are eyes that see


def test_eyes_that_learn_have_no_captions_to_be_waited_for(begun):
    run, settings = begun
    ahead = settings.ahead(FEW["train"], 5 * FEW["train"], 0)
    assert ahead.steps == 60  # of 16 of 96 images, ten times
    assert not ahead.speaks
    assert Plan(recipe()).stages[1].settings.ahead(96, 480, 0).speaks
    assert run.recipe.sight == "eyes"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sight": "convnet"}, "config.data.name='scenes' and config.sight='convnet'"),
        ({"data.name": "flickr8k"}, "config.data.name='flickr8k' and config.sight='eyes'"),
        ({"data.encoder": "eyes64"}, "sight 'eyes' looks at ('pixels', 64, 64), not at ('features"),
        ({"cell": "att2in"}, "cell 'att2in' looks at regions, and sight 'eyes' tells of none"),
    ],
)
def test_what_eyes_cannot_learn_from_is_refused_before_any_work(changes, words, tmp_path):
    with pytest.raises(InputError) as error:
        train_here(recipe(**changes), tmp_path / "run")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
