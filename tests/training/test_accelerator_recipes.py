"""Recipes made larger for an accelerator start, and steps may be looked at late."""

import json
import math
import runpy
from pathlib import Path

import pytest
from processes import same_end
from small_runs import train_here

from capjax.training import loop

SMALL = {
    "data.name": "folder",
    "data.encoder": "pixels64",
    "data.min_count": 1,
    "data.max_len": 5,
    "dim": 16,
    "decoding.max_len": 5,
    "log_every": 1,
    "report_images": 0,
}


def start(name: str, photos: Path, workdir: Path) -> tuple[list[str], list[dict]]:
    """A recipe's stages and the metrics of their first steps on a folder, with small batches."""
    file, _, arg = name.partition(":")
    path = Path(__file__).parents[2] / "configs" / f"{file}.py"
    config = runpy.run_path(str(path))["get_config"](arg)
    judge = {"evaluator_dim": 16} if "evaluator_dim" in config else {}
    config.update_from_flattened_dict(SMALL | judge | {"data.path": str(photos)})
    stages = list(config.stages)
    for stage in stages:
        config[stage].steps, config[stage].batch = 2, 16
        if "decoding" in config[stage]:
            config[stage].decoding.max_len = 5
    train_here(config.to_dict() | {"stages": stages}, workdir)
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return stages, [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("mle:scenes/accelerator", marks=pytest.mark.slow),
        pytest.param("gan:scenes/accelerator", marks=pytest.mark.slow),
        pytest.param("self_critical:scenes/retrieval/accelerator", marks=pytest.mark.slow),
        pytest.param("contrastive:scenes/accelerator", marks=pytest.mark.slow),
    ],
)
def test_a_recipe_for_an_accelerator_starts(name, photos, caches, tmp_path):
    stages, rows = start(name, photos, tmp_path / "run")
    losses = [(row["stage"], row["loss"]) for row in rows if "loss" in row]
    assert [stage for stage, _ in losses] == [stage for stage in stages for _ in range(2)]
    assert all(math.isfinite(loss) for _, loss in losses)


@pytest.mark.slow
def test_steps_that_are_looked_at_late_change_no_bit_and_no_line(
    recipe, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "steps_under_way", lambda: 3)
    train_here(recipe(), tmp_path / "run")
    same_end(tmp_path / "run", trained)


def test_a_batch_whose_images_are_told_apart_stays_as_it_was():
    """A listener's, and that of a reward for being found among it; others grow."""
    path = Path(__file__).parents[2] / "configs" / "self_critical.py"
    recipe = runpy.run_path(str(path))["get_config"]
    for preset, stays in ("cider", False), ("retrieval", True):
        before, after = (recipe(f"coco/{preset}{end}") for end in ("", "/accelerator"))
        assert (after.self_critical == before.self_critical) == stays
        assert stays or after.self_critical.batch == 32 * before.self_critical.batch
    assert after.listener == before.listener
