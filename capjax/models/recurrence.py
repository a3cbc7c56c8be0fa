"""A recurrence over inputs that are known beforehand, at the speed of its matmuls.

Differentiating `lax.scan` over a cell is wasteful on captions: inputs known beforehand are
multiplied a step at a time, and the gradient of each weight matrix is added up once a word. Here
what they give the gates is a product before the loop (on a CPU, to which few rows are as good as
many, one with the hidden state's), the backward pass reuses what dense layers gave, and gradients
of weights and inputs are products after the loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import unfreeze
from jax import lax

from capjax.models.blocks import sorted_by_length, whole
from capjax.models.dense import (
    input_gradient,
    kernel_gradient,
    known_output,
    layer_gradient,
    product,
)
from capjax.models.lstm import closed, opened

Layers = dict[str, Any]


class Given(NamedTuple):
    """What the recurrence is a function of."""

    enter: Layers  # of the gates' layer what multiplies inputs, with its bias
    hidden: jax.Array  # and what multiplies the hidden state [H, G]
    turn: Layers  # the layers that a turn uses, and the module's own parameters
    memory: Any  # what stays as it is while a caption is spoken: leaves [N / K, ...]
    beside: jax.Array | None  # float32[N / K, G], what is the same at every step gives the gates
    state: dict[str, jax.Array]  # before the first step: leaves [N / K, ...]
    inputs: jax.Array  # float[T, N, X]

    @property
    def shared(self) -> tuple[Any, jax.Array | None]:
        return self.memory, self.beside


class Kept(NamedTuple):
    """What the backward pass needs of each step; leaves [S, ...] (`blocks.py`)."""

    gates: jax.Array  # opened
    state: dict[str, jax.Array]  # before the step; what is hidden as products take it
    fed: Layers  # inputs of a turn's dense layers, as products take them
    made: Layers  # and their outputs


def recurrence(module: nn.Module, ends: bool = False) -> Callable:
    """Makes a recurrent module's function of all its inputs at once.

    Its layer `gates` is fed an input, what `always` names of the memory, and the hidden state.
    `turn(memory, state, gates) -> (state, out)` is all else of a step, with the dense layers that
    `turns` names, each used once, and the module's own parameters; layers take its `dtype`.

    Args:
      ends: whether accelerators, too, stop at the longest: worth it where that is often short.
    Returns:
      (params, memory, state, inputs float[T, N, X], lengths int32[N], keep bool[T, N] or None) ->
      float[T, N, H], 0 past the lengths; where `keep` is false the state before the step counts as
      0. Memory and state {"cell", "hidden"} may have N / K rows, each for K rows in turn.
    """

    by_platform = partial(_by_platform, partial(whole, ends=ends))

    @jax.custom_vjp
    def recur(given: Given, lengths: jax.Array, keep: jax.Array | None) -> jax.Array:
        return by_platform(partial(_run, module, False), given, lengths, keep)[0]

    def forward(given, lengths, keep):
        out, kept = by_platform(partial(_run, module, True), given, lengths, keep)
        return out, (given, lengths, keep, kept)

    def backward(saved, d_out):
        found = by_platform(partial(_run_back, module), *saved, d_out)
        return jax.tree.map(lambda d, x: d.astype(x.dtype), found, saved[0]), None, None

    recur.defvjp(forward, backward)

    def run(params, memory, state, inputs, lengths, keep=None):
        return recur(_given(module, unfreeze(params), memory, state, inputs), lengths, keep)

    return run


def _by_platform(elsewhere, run, *args):
    return lax.platform_dependent(
        *args, cpu=partial(run, sorted_by_length), default=partial(run, elsewhere)
    )


def _given(module, params, memory, state, inputs):
    """The product before the gates taken apart: of inputs, what stands beside each, the state."""
    layers, dim = params["params"], state["hidden"].shape[1]
    kernel, width = layers["gates"]["kernel"], inputs.shape[-1]
    always = [memory[name] for name in module.always if name in memory]
    return Given(
        {"kernel": kernel[:width], "bias": layers["gates"]["bias"]},
        kernel[-dim:],
        {name: x for name, x in layers.items() if name in module.turns or not isinstance(x, dict)},
        {name: x for name, x in memory.items() if name not in module.always},
        product(module.dtype, jnp.concatenate(always, 1), kernel[width:-dim]) if always else None,
        {name: state[name] for name in ("cell", "hidden")},
        inputs,
    )


def _run(module, for_gradient, layout_of, given: Given, lengths, keep):
    """Outputs [T, N, H] of all steps and, `for_gradient`, a `Kept`."""
    layout = layout_of(lengths, given.inputs.shape[0])
    layers, share = _rounded_layers(module, given.turn), partial(layout.share, given.shared)
    known, sums_of = _sums(module, layout, given)
    going = _dealt(layout, keep)
    written_over = for_gradient and layout.in_place

    def step(shared, state, known):
        fed, made = {}, {}

        def note(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if _is_dense(context):
                (name,) = context.module.path
                if name in fed:
                    raise ValueError(f"dense layer {name} is used twice in one step")
                fed[name], made[name] = args[0].astype(module.dtype), out
            return out

        memory, beside = shared
        sums = sums_of(known, state["hidden"])
        if beside is not None:
            sums += jnp.repeat(beside, sums.shape[0] // beside.shape[0], 0)
        gates = opened(module.opens, sums)
        with nn.intercept_methods(note):
            new, out = _turn(module, layers, memory, state, gates)
        return new, (out, Kept(gates, state, fed, made) if for_gradient else ())

    def one(shared, start, carry):
        state, (out, kept) = carry
        mine = partial(_slice, start=start, rows=state["hidden"].shape[0])
        state = state if going is None else _where(mine(going), state)
        state, new = step(shared, state, mine(kept.gates if written_over else known))
        return state, jax.tree.map(partial(_put, start), (out, kept), new)

    def begin(b):
        state = layout.take(given.state, b)
        return state | {"hidden": _rounded(module, state["hidden"])}

    def block(b, buffers):
        return layout.steps(b, partial(one, share(b)), (begin(b), buffers))[1]

    def first():
        state = begin(0)
        return step(share(0), state, known[: state["hidden"].shape[0]])[1]

    out, kept = jax.tree.map(
        lambda x: jnp.zeros((known.shape[0], *x.shape[1:]), x.dtype), jax.eval_shape(first)
    )
    if written_over:
        kept = kept._replace(gates=known)
    out, kept = layout.blocks(block, (out, kept))
    return layout.gather(out), kept


def _sums(module, layout, given):
    """What is known of each slot before the steps [S, ...], and the function of it and the hidden
    state that gives the sums before the gates."""
    inputs, bias = layout.deal(given.inputs), given.enter["bias"][None]
    if layout.ahead:
        kernel = _rounded(module, given.hidden)
        known = (product(module.dtype, inputs, given.enter["kernel"]) + bias).astype(jnp.float32)
        return known, lambda known, hidden: known + product(module.dtype, hidden, kernel)
    kernel = _rounded(module, jnp.concatenate([given.enter["kernel"], given.hidden]))

    def of_both(x, hidden):
        both = jnp.concatenate([x.astype(hidden.dtype), hidden], 1)
        return product(module.dtype, both, kernel) + bias

    return inputs, of_both


def _run_back(module, layout_of, given: Given, lengths, keep, kept: Kept, d_out):
    """The gradient of a `Given`.

    Where a layout is `in_place`, that of gates and of layers' outputs takes the place of their
    values, which are read no more.
    """
    layout = layout_of(lengths, given.inputs.shape[0])
    d_out, inputs = layout.deal(d_out), layout.deal(given.inputs)
    going = _dealt(layout, keep)
    own = {name: x for name, x in given.turn.items() if not isinstance(x, dict)}
    kernel, layers = _rounded(module, given.hidden), _rounded_layers(module, given.turn)

    def one(shared, start, carry):
        d_state, d_own, d_shared, *buffers = carry
        mine = partial(_slice, start=start, rows=d_state["hidden"].shape[0])
        source = buffers if layout.in_place else (kept.gates, kept.made)
        state, gates, made = jax.tree.map(mine, (kept.state, *source))
        state |= {"hidden": state["hidden"].astype(jnp.float32)}

        def turn(own, memory, state, gates, made):
            def reuse(call, args, kwargs, context):
                if not _is_dense(context):
                    return call(*args, **kwargs)
                (name,) = context.module.path
                return known_output(module.dtype, layers[name]["kernel"], args[0], made[name])

            with nn.intercept_methods(reuse):
                return _turn(module, layers | own, memory, state, gates)

        memory, beside = shared
        pull = jax.vjp(turn, own, memory, state, gates, made)[1]
        new_own, d_memory, d_state, d_sums, d_made = pull((d_state, mine(d_out)))
        d_sums = closed(module.opens, gates, d_sums)
        d_state["hidden"] += input_gradient(module.dtype, d_sums, kernel)
        d_state = d_state if going is None else _where(mine(going), d_state)
        each = lambda x: d_sums.reshape(x.shape[0], -1, x.shape[1]).sum(1)  # noqa: E731
        new = new_own, (d_memory, jax.tree.map(each, beside))
        d_own, d_shared = jax.tree.map(jnp.add, (d_own, d_shared), new)
        buffers = jax.tree.map(partial(_put, start), tuple(buffers), (d_sums, d_made))
        return d_state, d_own, d_shared, *buffers

    def block(b, carry):
        d_own, d_memory, d_begin, *buffers = carry
        shared = layout.share(given.shared, b)
        zeros = jax.tree.map(jnp.zeros_like, (layout.take(given.state, b), shared))
        state = zeros[0], d_own, zeros[1], *buffers
        d_state, d_own, d_shared, *buffers = layout.steps(b, partial(one, shared), state, back=True)
        d_memory = layout.add_shared(d_memory, b, d_shared)
        return d_own, d_memory, layout.add(d_begin, b, d_state), *buffers

    zeros = jax.tree.map(jnp.zeros_like, (own, given.shared, given.state))
    buffers = kept.gates, kept.made
    if not layout.in_place:
        buffers = jax.tree.map(jnp.zeros_like, buffers)
    d_own, (d_memory, d_beside), d_state, d_sums, d_made = layout.blocks(block, (*zeros, *buffers))

    slots = kept.fed, d_made, inputs, kept.state["hidden"], d_sums
    d_enter, d_hidden, d_turn = layout.sum(partial(_of_weights, module.dtype, given), slots)
    back = lambda d: input_gradient(module.dtype, d, given.enter["kernel"])  # noqa: E731
    d_inputs = layout.gather(layout.map(back, d_sums))
    return Given(d_enter, d_hidden, d_turn | d_own, d_memory, d_beside, d_state, d_inputs)


def _of_weights(dtype, given, slots):
    """Gradients of the gates' layer, in its two parts, and of a turn's layers, from some slots."""
    fed, d_made, inputs, hidden, d_sums = slots
    layer = partial(layer_gradient, dtype)
    d_turn = {name: layer(given.turn[name], fed[name], d) for name, d in d_made.items()}
    return layer(given.enter, inputs, d_sums), kernel_gradient(dtype, hidden, d_sums), d_turn


def _dealt(layout, keep):
    """Whether each slot's state goes on bool[S, 1]; None where all do."""
    return None if keep is None else layout.deal(keep[..., None].astype(jnp.float32)) > 0


def _where(going, state):
    """The rows of a state that go on, 0 elsewhere."""
    return jax.tree.map(lambda x: jnp.where(going, x, jnp.zeros_like(x)), state)


def _rounded(module, x):
    """What products take, once: XLA would move a conversion into the loops after it."""
    return lax.optimization_barrier(x.astype(module.dtype))


def _rounded_layers(module, layers):
    return {
        name: x | {"kernel": _rounded(module, x["kernel"])} if isinstance(x, dict) else x
        for name, x in layers.items()
    }


def _turn(module, layers, memory, state, gates):
    wide = state | {"hidden": state["hidden"].astype(jnp.float32)}
    new, out = module.apply({"params": layers}, memory, wide, gates, method="turn")
    return {name: new[name].astype(x.dtype) for name, x in state.items()}, out


def _is_dense(context) -> bool:
    return isinstance(context.module, nn.Dense) and context.method_name == "__call__"


def _slice(x, start, rows):
    return lax.dynamic_slice_in_dim(x, start, rows)


def _put(start, x, new):
    return lax.dynamic_update_slice_in_dim(x, new, start, 0)
