"""Does who watches a run see what it is doing, and what it says?"""

import jax
import numpy as np
import pytest
from compiled.recipes import SIZES, STAGES, of_stage, tiny

from capjax.compiled.of_recipe import asked_of
from capjax.data.scenes import random_scene
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.training.stage import Part
from capjax.training.telling import Telling

SCENE = random_scene(np.random.default_rng(0)) | {"background": "grey"}
SPLIT = Split(
    tuple(f"val-{i}" for i in range(9)),
    tuple((f"people say {i}\nand\x1b[31m more", "x") for i in range(9)),
    lambda i: None,
    ({"scene": SCENE, "distractors": []},) * 9,
)


def watched(recipe: dict, split: Split = SPLIT) -> Telling:
    """A run of a recipe that is told of."""
    plan, asked = asked_of(recipe, "h100:1", SIZES, jax.devices()[:1])
    run = asked.wide._replace(validation=Part(split, np.zeros(9), {}))
    return Telling(run, plan, splits=2)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("setting", ["plain", "half", "by images"])
def test_what_is_known_of_a_stage_before_it_begins_is_what_it_does(name, setting):
    recipe = of_stage(name)
    if setting == "half":
        recipe.get("listener", {})["half"] = 1
    if setting == "by images":
        recipe.get("mle", {})["captions_per_image"] = 2
    plan, asked = asked_of(recipe, "h100:1", SIZES, jax.devices()[:1])
    (planned,) = plan.stages
    stage = planned.stage(asked.wide, planned.settings)
    images, captions = (len(np.unique(asked.wide.training.arrays["of"])), 60)
    ahead = planned.settings.ahead(images, captions, validate_every=0)
    assert ahead.steps == planned.settings.steps_of(stage.per_epoch)
    assert ahead.every == max(1, stage.per_epoch // planned.settings.batch)
    assert planned.settings.learns


def test_a_stage_is_told_with_what_it_learns_and_where_it_stands(capsys):
    stages = ("mle", "evaluator", "adversarial")
    telling = watched(tiny("gan:coco", stages=stages, evaluator_dim=8))
    telling.begins(1, 250, 1250)
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "images to watch, and what people say of them:",
        *(f"    val-{i}  people say {i} and [31m more" for i in (0, 4, 8)),
        "stage 2 of 3, evaluator: an evaluator learns to tell people's captions from the"
        " captioner's, 1,000 steps",
    ]
    telling.begins(2, 30, 30)  # which is done
    assert capsys.readouterr() == ("", "")
    telling.begins(2, 0, 30)
    assert len(capsys.readouterr().err.splitlines()) == 1  # images are named once
    watched(of_stage("listener")).begins(0, 0, 30)
    assert len(capsys.readouterr().err.splitlines()) == 1  # and where a captioner learns


def test_every_validation_tells_what_is_said_of_the_same_images(capsys):
    telling = watched(of_stage("mle"))
    said = ["a shape on grey", "shapes on black", "grey grey", *["x"] * 3]
    rows = [{"id": i, "caption": "unseen"} for i in range(9)]
    for place, text in zip((0, 4, 8), said, strict=False):
        rows[place]["caption"] = text
    telling.validated("mle", 20, {"val_cider_d": 0.5, "val_distinct_words": 3}, rows)
    assert capsys.readouterr().out.splitlines() == [
        "mle step 20: cider_d 0.500  distinct_words 3",
        "    val-0  a shape on grey",
        f"    val-4  shapes on black  (false: {'black' if len(SCENE['objects']) > 1 else ''})",
        "    val-8  grey grey        (no sentence about a scene)",
    ]
    several = [{"captions": [f"first {i}", "second"]} for i in range(9)]
    watched(of_stage("mle"), SPLIT._replace(truth=None)).validated("mle", 20, {}, several)
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"    val-{i}  first {i}" for i in (0, 4, 8)
    ]
    telling.validated("evaluator", 30, {"val_r_real": 0.25}, ())
    assert capsys.readouterr().out == "evaluator step 30: r_real 0.250\n"


def test_of_a_paragraph_every_sentence_is_a_line(capsys):
    words = Vocabulary.build(["a shape on grey"], 1, sentences=True)
    split = SPLIT._replace(captions=(("A shape. It is\x1b grey.",),) * 9)
    telling = watched(of_stage("mle"), split)
    telling.run = telling.run._replace(vocabulary=words)
    telling.begins(0, 0, 5)
    assert capsys.readouterr().err.splitlines()[1:3] == [
        "    val-0  A shape.",
        "           It is grey.",
    ]
    rows = [{"id": i, "caption": "a shape on grey. shapes on black. grey grey."} for i in range(9)]
    rows[4]["caption"] = ""
    telling.validated("mle", 20, {"val_cider_d": 0.5}, rows)
    three = [
        "a shape on grey.",
        f"shapes on black.  (false: {'black.' if len(SCENE['objects']) > 1 else ''})",
        "grey grey.        (no sentence about a scene)",
    ]
    assert capsys.readouterr().out.splitlines()[1:] == [
        f"    val-0  {three[0]}",
        *(f"           {line}" for line in three[1:]),
        "    val-4                    (no sentence about a scene)",
        f"    val-8  {three[0]}",
        *(f"           {line}" for line in three[1:]),
    ]
