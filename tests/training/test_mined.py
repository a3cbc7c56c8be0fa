"""Mismatched captions that are mined are of the images most alike, as the speaker sees them."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from capjax.data.neighbours import nearest
from capjax.data.scenes.sight import seen
from capjax.training.begin import begin
from capjax.training.plan import Plan
from capjax.training.stage import mined

FEW = {"train": 40, "val": 4}
NEAREST = 3


@pytest.fixture(scope="module")
def planned(caches, tmp_path_factory):
    """What the stages of G-GAN share on a few scenes, and each with its settings."""
    path = Path(__file__).parents[2] / "configs" / "gan.py"
    config = runpy.run_path(str(path))["get_config"]()
    sizes = {"dim": 8, "evaluator_dim": 8, "noise": 2, "evaluator.batch": 20}
    sizes |= {"adversarial.batch": 8, "adversarial.evaluator_steps": 2}
    sizes |= {f"{stage}.mined": NEAREST for stage in ("evaluator", "adversarial")}
    config.update_from_flattened_dict(sizes)
    plan = Plan(config.to_dict() | {"stages": list(config.stages)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("capjax.data.scenes.builder.SIZES", FEW)
        run, _, _ = begin(plan, tmp_path_factory.mktemp("mined"))
    return run, {one.name: one for one in plan.stages}


@pytest.mark.parametrize("name", ["evaluator", "adversarial"])
def test_mismatched_captions_are_of_the_nearest_images_and_of_each_of_them(name, planned):
    run, stages = planned
    of = np.asarray(run.training.arrays["of"])
    stage = stages[name].stage(run, stages[name].settings)
    rows = np.concatenate([stage.rows(step).reshape(-1, 2) for step in range(200)])
    images, others = of[rows].T
    near = nearest(run.training.images, NEAREST)
    for image in range(FEW["train"]):
        assert set(others[images == image]) == set(near[image])


def test_as_many_are_mined_as_there_are_and_none_unless_asked(planned):
    run, _ = planned
    assert mined(run, 0) is None
    found = mined(run, 1000)
    every = set(range(FEW["train"]))
    assert all(set(row) == every - {image} for image, row in enumerate(found))


def test_what_is_mined_of_scenes_looks_alike(planned):
    """To trained eyes: more of what captions tell is the same than of any two scenes."""
    run, _ = planned
    truth = seen([about["scene"] for about in run.training.split.truth])
    told = np.concatenate([truth["attributes"][:, 0], truth["background"][:, None]], 1)
    same = (told[:, None] == told[None]).mean(-1)  # of two scenes
    others = same[~np.eye(len(same), dtype=bool)]
    near = np.take_along_axis(same, mined(run, NEAREST), 1)
    assert near.mean() > others.mean() + 4 * others.std() / near.size**0.5
