"""A run of scenes is told from the near twins of its images, by the command."""

import runpy
from pathlib import Path

from small_runs import train_here

from capjax import evaluate

SMALL = {"dim": 16, "mle.epochs": 0.02, "mle.batch": 16, "log_every": 5, "report_images": 2}


def test_images_of_scenes_are_told_from_their_near_twins(caches, tmp_path, capsys):
    path = Path(__file__).parents[1] / "configs" / "mle.py"
    config = runpy.run_path(str(path))["get_config"]()
    config.update_from_flattened_dict(SMALL)
    train_here(config.to_dict() | {"stages": ["mle"]}, tmp_path / "run")
    command = [f"--workdir={tmp_path / 'run'}", "--quick", "--distractors=4", "--twins"]
    assert evaluate.main([*command, "--rationality=0.5"]) == 0
    assert "identifies" in capsys.readouterr().out
    page = (tmp_path / "run" / "distractors-val-twins4-l0.5.html").read_text()
    assert page.count("twin 4") >= 6  # four distractors of each image that is shown
    assert not list((tmp_path / "run").glob("distractors-val-twins*.json"))  # they have no ids
    assert evaluate.main([*command[:2], "--distractors=5", "--twins"]) == 2
    assert "has 4 near twins" in capsys.readouterr().err
