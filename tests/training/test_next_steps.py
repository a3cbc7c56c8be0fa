"""Does each command that a run ends with work for that very run?"""

import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import train_here

from capjax import caption, evaluate
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.training.next_steps import next_steps
from capjax.training.plan import Plan
from capjax.training.stage import Part, Run

HOME = Path(__file__).parents[2]
SEEN = Split(tuple("abcde"), (("x",),) * 5, lambda i: None)
WORDS = Vocabulary.build(["x"], 1)
DRAWN = SEEN._replace(truth=({"scene": {}, "distractors": []},) * 5)


def recipe_of(name: str, **changes: object) -> dict:
    file, _, arg = name.partition(":")
    config = runpy.run_path(str(HOME / "configs" / f"{file}.py"))["get_config"](arg or "scenes")
    config.update_from_flattened_dict(changes)
    config = config.to_dict()
    return config | {"stages": list(config["stages"])}


def told(
    name: str,
    split: Split = SEEN,
    workdir: str = "runs/x",
    words: Vocabulary = WORDS,
    **changes: object,
) -> list[str]:
    """The commands that a run of a recipe ends with; nothing is trained."""
    plan = Plan(recipe_of(name, **changes))
    part = Part(split, np.zeros(len(split.ids)), {})
    run = Run(plan.recipe, Path(workdir), None, None, words, None, part, part)
    return [step.command for step in next_steps(run, plan, ("large star", "small star"))]


def of(commands: list[str], module: str) -> list[str]:
    return [line for line in commands if line.startswith(f"python -m capjax.{module} ")]


def test_a_run_of_scenes_is_told_from_twins_and_tuned():
    commands = told("mle", DRAWN, "runs/my run")
    assert all("my run" in line or "my%20run" in line for line in commands)
    assert sum("--twins" in line for line in commands) == 1
    tuned = of(commands, "train")
    assert "/contrastive.py:scenes" in tuned[0]
    assert "/self_critical.py:scenes" in tuned[1]
    assert """'--config.stages=("contrastive",)'""" in tuned[0]
    assert "'--workdir=runs/my run-contrastive'" in tuned[0]
    assert len(of(commands, "train")) == 2
    assert "contrastive" not in " ".join(of(told("contrastive", DRAWN), "train"))  # it has been


def test_a_run_of_paragraphs_speaks_paragraphs():
    for words in (WORDS, Vocabulary.build(["x"], 1, sentences=True)):
        (asked,) = of(told("mle", words=words), "caption")
        assert ("--paragraph" in shlex.split(asked)) == words.sentences


def test_what_differs_from_the_recipes_defaults_goes_along():
    changes = {"dim": 64, "data.max_len": 12, "decoding.max_len": 12, "cell": "att2in"}
    changes |= {"data.encoder": "pixels64"}
    (contrastive, _) = of(told("mle", SEEN, **changes), "train")
    given = {word for word in shlex.split(contrastive) if word.startswith("--config.")}
    assert given - {f"--config.{name}={value}" for name, value in changes.items()} == {
        "--config.init_from=runs/x",
        '--config.stages=("contrastive",)',
    }


@pytest.mark.parametrize(
    ("name", "changes", "has", "lacks"),
    [
        ("gan", {}, ("--samples", "--hard", "capjax.caption"), ("capjax.train",)),  # noise
        ("mle", {"data.encoder": "none"}, ("--samples",), ("capjax.caption", "--hard")),
        (
            "justification",
            {},
            ("'--concept=large star' '--against=small star'", "--justify"),
            ("--hard", "capjax.train", "capjax.demo"),
        ),
        (
            "evaluator:flickr8k",
            {"init_from": "/runs/m"},
            ("--workdir=/runs/m --evaluator=runs/x",),
            ("capjax.train",),
        ),
        (
            "listener:flickr8k",
            {"init_from": "/runs/m"},
            ("--workdir=/runs/m --listener=runs/x --retrieval=5",),
            ("capjax.train",),
        ),
    ],
)
def test_what_a_run_cannot_do_is_not_told(name, changes, has, lacks):
    commands = "\n".join(told(name, **changes))
    assert all(word in commands for word in has)
    assert not [word for word in lacks if word in commands]


def test_of_features_of_ones_own_no_photo_is_captioned(tmp_path):
    commands = told("mle", **{"data.encoder": f"files:{tmp_path}"})
    assert not of(commands, "caption")
    assert of(commands, "evaluate")


def ends_well(command: str) -> None:
    python, *words = shlex.split(command)
    assert python == "python"
    env = os.environ | {"PYTHONPATH": str(HOME), "BROWSER": "true", "JAX_NUM_CPU_DEVICES": "1"}
    ran = subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True)
    assert ran.returncode == 0, (command, ran.stderr)


def commands_in(text: str) -> list[str]:
    _, found, steps = text.partition("what to try next:\n")
    assert found
    return [line.strip() for line in steps.splitlines() if line.startswith("    ")]


@pytest.mark.slow
def test_every_command_that_a_run_ends_with_works(recipe, tmp_path, capsys):
    train_here(recipe(dim=8), tmp_path / "a run")
    commands = commands_in(capsys.readouterr().out)
    assert {line.split()[2] for line in commands} >= {
        *("webbrowser", "capjax.caption", "capjax.evaluate", "capjax.train")
    }
    for command in commands:
        if "capjax.demo" not in command:  # it serves until it is stopped
            ends_well(command)
    for tuned in ("contrastive", "self_critical"):  # whose reports begin with what it said
        assert "after a run" in (tmp_path / f"a run-{tuned}" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "justification"])
def test_so_it_does_of_drawn_images(name, caches, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("capjax.data.scenes.builder.SIZES", {"train": 96, "val": 12, "test": 6})
    small = {"dim": 16, "log_every": 5, "report_images": 2, "mle.epochs": 1.25, "mle.batch": 16}
    if name == "gan":
        small |= {"evaluator_dim": 16, "evaluator.steps": 2, "adversarial.steps": 2}
    monkeypatch.chdir(tmp_path)
    train_here(recipe_of(name, **small), "run")
    Image.new("RGB", (64, 64), "red").save("photo.jpg")
    for command in commands_in(capsys.readouterr().out):
        module, *words = shlex.split(command)[2:]
        ends = {"capjax.caption": caption.main, "capjax.evaluate": evaluate.main}
        if module in ends:
            assert ends[module](words) == 0, command
        else:
            assert module in ("webbrowser", "capjax.demo")
