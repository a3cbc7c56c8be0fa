"""A run of scenes is told from the near twins of its images, by the command."""

import json
import runpy
from functools import partial
from pathlib import Path

import jax
import numpy as np
from small_runs import train_here

from capjax import evaluate
from capjax.data import scenes
from capjax.data.features import pixels
from capjax.data.prepare import prepare
from capjax.decoding.suppressor import emitter_suppressor
from capjax.workdir import open_run

SMALL = {"dim": 16, "mle.epochs": 0.02, "mle.batch": 16, "log_every": 5, "report_images": 2}


def test_images_of_scenes_are_told_from_their_near_twins(caches, tmp_path, capsys):
    path = Path(__file__).parents[1] / "configs" / "mle.py"
    config = runpy.run_path(str(path))["get_config"]()
    config.update_from_flattened_dict(SMALL)
    train_here(config.to_dict() | {"stages": ["mle"]}, tmp_path / "run")
    command = [f"--workdir={tmp_path / 'run'}", "--quick", "--distractors=4", "--twins"]
    assert evaluate.main([*command, "--rationality=0.5"]) == 0
    assert "identifies" in capsys.readouterr().out
    run, prepared = open_run(tmp_path / "run"), prepare("scenes", None, None, pixels(64))
    split, images = prepared.splits["val"], prepared.images["val"]
    scores = json.loads((tmp_path / "run" / "scores-val-twins4-l0.5.json").read_text())
    rows = json.loads((tmp_path / "run" / "captions-val-twins4-l0.5.json").read_text())
    marks = [
        scenes.identifies(row["caption"], about["scene"], about["distractors"])
        for row, about in zip(rows, split.truth, strict=True)
    ]
    assert scores["identifies"] == np.mean(marks)
    # The first few are what is said of each beside its own four twins.
    for row, image, about in zip(rows[:3], images, split.truth, strict=False):
        twins = np.stack([scenes.draw(other) for other in about["distractors"]])
        found = jax.jit(partial(emitter_suppressor, run.speaker, width=3, max_len=16))(
            run.params, {"image": image[None]}, {"image": twins[None]}
        )
        assert run.vocabulary.decode(found.words[0, 0]) == row["caption"]
    page = (tmp_path / "run" / "distractors-val-twins4-l0.5.html").read_text()
    assert page.count("twin 4") >= 6  # four distractors of each image that is shown
    assert not list((tmp_path / "run").glob("distractors-val-twins*.json"))  # they have no ids
    for number in (5, -1):
        assert evaluate.main([*command[:2], f"--distractors={number}", "--twins"]) == 2
        assert "has 4 near twins" in capsys.readouterr().err
