"""An evaluator begins with the eyes that the speaker has, where it can."""

import jax
import numpy as np
import pytest

from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.training.stage import Learnt, Run, own_evaluator

PIXELS = ("pixels", 16, 16)


def first(image, key, *, dim=8, judge_dim=8, learnt=None):
    speaker, judge = generator(9, image, dim=dim), evaluator(9, image, dim=judge_dim)
    run = Run(*[None] * len(Run._fields))._replace(speaker=speaker, evaluator=judge)
    spoken = speaker.init(jax.random.fold_in(key, 1))
    return own_evaluator(run, Learnt(spoken, learnt), key), spoken, judge.init(key)


def test_networks_of_one_form_see_alike_and_all_else_is_new(key):
    params, spoken, fresh = first(PIXELS, key)
    jax.tree.map(np.testing.assert_array_equal, params["params"]["see"], spoken["params"]["see"])
    apart = [{k: x for k, x in p["params"].items() if k != "see"} for p in (params, fresh)]
    jax.tree.map(np.testing.assert_array_equal, *apart)


@pytest.mark.parametrize(("image", "judge_dim"), [(PIXELS, 16), (("features", 4), 8)])
def test_others_begin_anew(image, judge_dim, key):
    """Of another width, or without a network on pixels."""
    params, _, fresh = first(image, key, judge_dim=judge_dim)
    jax.tree.map(np.testing.assert_array_equal, params, fresh)


def test_what_has_been_learnt_stays(key):
    learnt = {"params": {"see": {}}}
    assert first(PIXELS, key, learnt=learnt)[0] is learnt
