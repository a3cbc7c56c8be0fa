"""What is for paragraphs alone is refused where id 2 is a word like any other."""

import dataclasses
from types import SimpleNamespace

import pytest
from small_runs import train_here

from capjax.data import Vocabulary
from capjax.errors import InputError
from capjax.evaluation.judge_runs import check_same_kind
from capjax.run.recipe import plain
from capjax.training.stages import stage_file

FLAT = Vocabulary.build(["a red wall"] * 5)
SEVERAL = Vocabulary.build(["a red wall. it is red."] * 5, sentences=True)
ALONE = {  # settings of stages, and what they are where captions need not be paragraphs
    "mle.stop_weight": (5.0, 1.0),
    "evaluator.swapped": (0.5, 0.0),
    "adversarial.swapped": (0.5, 0.0),
    "evaluator.left_out": (0.5, 0.0),
    "adversarial.left_out": (0.5, 0.0),
    "adversarial.feedback": ("sentence", "word"),
}


def usual_of(field: dataclasses.Field) -> object:
    return 0.0 if field.default is dataclasses.MISSING else field.default


def settings_of(stage: str, **changes):
    """Those of a stage, all but what is looked at left out."""
    kind = stage_file(stage).Settings
    made = object.__new__(kind)
    for name, field in kind.__dataclass_fields__.items():
        object.__setattr__(made, name, changes.get(name, usual_of(field)))
    return made


@pytest.mark.parametrize("name", ALONE)
def test_single_sentences_have_no_such_setting(name):
    stage, setting = name.split(".")
    value, usual = ALONE[name]
    asked = settings_of(stage, **{setting: value})
    with pytest.raises(InputError, match=rf"config.{name}={value!r} is for paragraphs"):
        asked.check_others(None, FLAT)
    asked.check_others(None, SEVERAL)
    settings_of(stage, **{setting: usual}).check_others(None, FLAT)


@pytest.mark.parametrize("stage", ["evaluator", "adversarial"])
def test_more_than_all_paragraphs_are_not_altered(stage):
    asked = settings_of(stage, swapped=0.6, left_out=0.5)
    with pytest.raises(InputError, match=rf"{stage}.swapped=0.6 and .left_out=0.5 are"):
        asked.check_others(None, SEVERAL)


def test_topics_are_not_moved_on_by_drawn_stops():
    asked = settings_of("mle", scheduled_sampling=0.25)
    with pytest.raises(InputError, match="one full stop among them"):
        asked.check_others(SimpleNamespace(cell="paragraph"), SEVERAL)
    asked.check_others(SimpleNamespace(cell="nic"), SEVERAL)


def test_a_run_is_refused_before_it_trains(recipe, tmp_path):
    with pytest.raises(InputError, match=r"config.mle.stop_weight=5.0 is for paragraphs"):
        train_here(recipe(**{"mle.stop_weight": 5.0}), tmp_path / "run")


@pytest.mark.parametrize("name", ALONE)
def test_a_run_begun_before_there_was_such_a_setting_goes_on(name):
    stage, setting = name.split(".")
    assert plain({stage: {setting: ALONE[name][1]}}) == plain({stage: {}})


def test_a_judge_is_asked_of_captions_as_it_learnt_to_read():
    for one in (FLAT, SEVERAL):
        check_same_kind("listener", "there", one, one)
    with pytest.raises(InputError, match="learnt to read captions of one sentence, and the run"):
        check_same_kind("listener", "there", FLAT, SEVERAL)
    with pytest.raises(InputError, match="learnt to read paragraphs, and the run speaks captions"):
        check_same_kind("listener", "there", SEVERAL, FLAT)
