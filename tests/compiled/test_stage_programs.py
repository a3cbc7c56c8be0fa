"""What is compiled of a recipe's stages: the update that training runs, what it sends and needs."""

import jax
import pytest
from compiled.recipes import SIZES, STAGES, of_stage

from capjax.compiled.of_recipe import asked_of, programs_of
from capjax.compiled.stage_programs import forms_of, update_program
from capjax.training.stages import stage_names

SENDS = {"psum", "psum_invariant", "all_gather", "reduce_scatter", "ppermute", "all_to_all"}
MEANS = {"psum", "psum_invariant"}
# Captions are told from those of all devices, which is what these stages are for.
AMONG_ALL = {"listener": {"all_gather", "reduce_scatter"}, "self_critical": {"all_gather"}}


@pytest.fixture(autouse=True)
def as_optax_wants():
    """Its Adam takes an integer to the power of a float."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def bytes_of(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def sent(jaxpr):
    """Every collective of a traced program: (its primitive, bytes that a device gives)."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in SENDS:
            yield eqn.primitive.name, sum(x.aval.size * x.aval.dtype.itemsize for x in eqn.invars)
        for value in jax.tree.leaves(eqn.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from sent(inner)


def learnt_by(name, state):
    """The parameters that a stage learns."""
    if name == "listener":
        return state[1].params
    if name == "self_critical":
        return state[0].params
    return (state.params, state.evaluator) if name == "adversarial" else state.params


def test_every_stage_is_looked_at():
    # Eyes learn from what scenes are known to hold, which is no matter of sizes.
    assert set(STAGES) | {"eyes"} == set(stage_names())


@pytest.mark.parametrize("name", STAGES)
def test_an_update_sends_the_mean_of_its_gradient_and_some_numbers(name):
    """Adversarial training's evaluator has one update here, so that its loop is no repeat."""
    plan, asked = asked_of(of_stage(name), "h100:4", SIZES, jax.devices()[:4])
    ((_, stage, state),) = forms_of(asked.wide, plan.stages)
    program, (own, _, _) = update_program(asked, stage, state)
    found = list(sent(program.closed.jaxpr))
    assert {kind for kind, _ in found} - MEANS == AMONG_ALL.get(name, set())
    means = sum(size for kind, size in found if kind in MEANS)
    numbers = means - bytes_of(learnt_by(name, state))
    assert 0 < numbers <= 4 * 20
    assert own == bytes_of(state)


def test_collectives_are_read_out_of_what_is_compiled():
    """For four devices of a CPU: the gradient, the loss, nats a word, and the words of a part."""
    found = programs_of(of_stage("mle"), "h100:4", SIZES, jax.devices()[:4])
    (one,) = found.stages
    (means,) = one.collectives
    vocabulary, dim, image = SIZES.vocabulary, 8, 1
    gates = (2 * dim + 1) * 4 * dim
    words = vocabulary * dim + (dim + 1) * vocabulary
    project = (image + 100) * dim + dim
    gradient = 4 * (gates + words + project)
    assert means.kind == "all-reduce"
    assert means.bytes == gradient + 4 * 3
    assert one.work > 0
    assert not one.untold
    assert one.memory.whole == sum(one.memory)
    assert one.batch == 8
