"""Teacher forcing of recurrent Flax modules at the speed of their matmuls.

Differentiating `lax.scan` is wasteful on captions: every row is run to the last step however short
its caption, and the gradient of each weight matrix is added up once a word. Here rows are sorted by
length and run in blocks that stop at their longest caption; the backward pass reuses the outputs
of the dense layers instead of multiplying again; and the gradients of their weights are taken after
the loop, in one product over the real words.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from capjax.models.blocks import add, blocks_of, take
from capjax.models.dense import input_gradient, kernel_gradient
from capjax.teacher_forcing import pack

Path = tuple[str, ...]


def reciter(module: nn.Module) -> Callable:
    """Makes `Speaker.recite` for a module with the methods `embed` and `advance`.

    `advance` must use each of its dense layers once a step; all take the module's `dtype`.
    """

    @partial(jax.custom_vjp, nondiff_argnums=(0,))
    def recur(each, params, memory, moving, still, embedded, lengths):
        blocks = blocks_of(lengths, embedded.shape[-1], each)
        dealt = blocks.deal((moving, still)), blocks.deal_steps(embedded)
        return blocks.gather_steps(_run(module, params, memory, *dealt, blocks, False)[0])

    def forward(each, params, memory, moving, still, embedded, lengths):
        blocks = blocks_of(lengths, embedded.shape[-1], each)
        dealt = blocks.deal((moving, still)), blocks.deal_steps(embedded)
        hidden, kept = _run(module, params, memory, *dealt, blocks, True)
        saved = params, memory, dealt[1], lengths, blocks, kept
        return blocks.gather_steps(hidden), saved

    def backward(each, saved, d_hidden):
        params, memory, embedded, lengths, blocks, kept = saved
        real = blocks.deal_steps(jnp.arange(d_hidden.shape[1])[None] < lengths[:, None])
        # Rows that fill up the last block repeat a row of the batch: they have no gradient.
        fills = jnp.arange(blocks.row.size).reshape(blocks.row.shape) >= lengths.size
        real &= ~fills[:, None]
        d_hidden = jnp.where(real[..., None], blocks.deal_steps(d_hidden), 0)
        d_params, d_memory, d_moving, d_taps, d_embedded = _run_back(
            module, params, memory, embedded, kept, d_hidden, blocks
        )
        # Steps that no row of a block has still hold what was fed in.
        d_embedded = jnp.where(real[..., None], d_embedded, 0)
        packed = pack(real)
        weights = {
            path: _dense_gradient(module.dtype, _layer(params, path), kept.fed[path], d, *packed)
            for path, d in d_taps.items()
        }
        return (
            _with(d_params, weights),
            d_memory,
            blocks.gather_starts(d_moving, each),
            None,
            blocks.gather_steps(d_embedded),
            None,
        )

    recur.defvjp(forward, backward)

    def recite(params, memory, carry, words, lengths):
        embedded = module.apply(params, words, method="embed")
        each = lengths.size // jax.tree.leaves(carry)[0].shape[0]
        return recur(each, params, memory, *_part(carry), embedded, lengths)

    return recite


class Kept(NamedTuple):
    """What the backward pass needs of each step; leaves [B, T, rows, ...]."""

    moving: Any  # the carry before the step: what has a gradient
    still: Any  # and what has none
    fed: dict[Path, jax.Array]  # inputs of the dense layers
    made: dict[Path, jax.Array]  # and their outputs


def _run(module, params, memory, rows, embedded, blocks, keep):
    """Hidden states [B, T, rows, H] of all blocks and, with `keep`, a `Kept`."""

    def step(mine: Any, moving: Any, still: Any, x: Any) -> Any:
        fed: dict[Path, jax.Array] = {}
        made: dict[Path, jax.Array] = {}

        def note(call, args, kwargs, context):
            out = call(*args, **kwargs)
            if _is_dense(context):
                path = context.module.path
                if path in fed:
                    raise ValueError(f"dense layer {'/'.join(path)} is used twice in one step")
                fed[path], made[path] = args[0], out
            return out

        with nn.intercept_methods(note):
            carry, hidden = module.apply(params, mine, _join(moving, still), x, method="advance")
        return _part(carry), (hidden, Kept(moving, still, fed, made) if keep else ())

    first = jax.tree.map(lambda x: x[0], (*rows, embedded[:, 0]))
    mine = jax.tree.map(lambda x: take(x, blocks.start[0]), memory)
    hidden, made = jax.eval_shape(step, mine, *first)[1]
    if keep:  # keys have no zeros, so the buffer of what stands still starts as what it was
        made = made._replace(still=first[1])
    blank = jax.tree.map(
        lambda x: (
            jnp.broadcast_to(x, embedded.shape[:2] + x.shape)
            if isinstance(x, jax.Array)
            else jnp.zeros(embedded.shape[:2] + x.shape, x.dtype)
        ),
        (hidden, made),
    )

    def one(b, mine, t, state):
        carry, kept = state
        moving, still = carry
        carry, new = step(mine, moving, still, embedded[b, t])
        return carry, jax.tree.map(lambda all_, x: all_.at[b, t].set(x), kept, new)

    def block(b, kept):
        mine = jax.tree.map(lambda x: take(x, blocks.start[b]), memory)
        moving, still = jax.tree.map(lambda x: x[b], rows)
        state = (moving, still), kept
        return lax.fori_loop(0, blocks.longest[b], partial(one, b, mine), state)[1]

    return lax.fori_loop(0, blocks.longest.size, block, blank)


def _run_back(module, params, memory, embedded, kept, d_hidden, blocks):
    """Gradients of parameters (dense layers' left out), memory, carry, layer outputs and inputs.

    Of layer outputs and inputs each takes the place of the value it belongs to, which is read no
    more: large buffers are what a step of training waits for.
    """

    def one(b, mine, i, state):
        d_moving, d_params, d_mine, made, embedded = state
        t = blocks.longest[b] - 1 - i
        before = jax.tree.map(lambda x: x[b, t], kept._replace(made=made))

        def advance(params, taps, mine, moving, x):
            def reuse(call, args, kwargs, context):
                if not _is_dense(context):
                    return call(*args, **kwargs)
                path = context.module.path
                kernel = _layer(params, path)["kernel"]
                return _known(module.dtype, kernel, args[0], before.made[path]) + taps[path]

            with nn.intercept_methods(reuse):
                carry = _join(moving, before.still)
                carry, hidden = module.apply(params, mine, carry, x, method="advance")
            return _part(carry)[0], hidden

        taps = jax.tree.map(jnp.zeros_like, before.made)
        _, pull = jax.vjp(advance, params, taps, mine, before.moving, embedded[b, t])
        p, tap, m, d_moving, x = pull((d_moving, d_hidden[b, t]))
        d_params, d_mine = jax.tree.map(jnp.add, (d_params, d_mine), (p, m))
        made = jax.tree.map(lambda all_, new: all_.at[b, t].set(new), made, tap)
        return d_moving, d_params, d_mine, made, embedded.at[b, t].set(x)

    def block(b, state):
        d_params, d_memory, d_all, made, embedded = state
        mine = jax.tree.map(lambda x: take(x, blocks.start[b]), memory)
        end = jax.tree.map(lambda x: jnp.zeros_like(x[b]), d_all)
        state = (end, d_params, jax.tree.map(jnp.zeros_like, mine), made, embedded)
        state = lax.fori_loop(0, blocks.longest[b], partial(one, b, mine), state)
        d_moving, d_params, d_mine, made, embedded = state
        d_memory = jax.tree.map(lambda x, new: add(x, blocks.start[b], new), d_memory, d_mine)
        d_all = jax.tree.map(lambda all_, new: all_.at[b].set(new), d_all, d_moving)
        return d_params, d_memory, d_all, made, embedded

    start = jax.tree.map(lambda x: x[:, 0], kept.moving)
    zeros = jax.tree.map(jnp.zeros_like, (params, memory, start))
    return lax.fori_loop(0, blocks.longest.size, block, (*zeros, kept.made, embedded))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _known(dtype, kernel, x, out):
    """A dense layer's output that is known already: only its input gets a gradient."""
    return out


def _known_backward(dtype, saved, d_out):
    kernel, like = saved
    d_x = input_gradient(dtype, d_out, kernel)
    return jnp.zeros_like(kernel), d_x.astype(like.dtype), jnp.zeros_like(d_out)


_known.defvjp(lambda dtype, kernel, x, out: (out, (kernel, x[:0])), _known_backward)


def _dense_gradient(dtype, layer, fed, d_out, packed, chunks):
    """Gradient of a dense layer from its inputs and the gradient of its outputs."""
    fed, d_out = (x.reshape(-1, x.shape[-1]) for x in (fed, d_out))

    def add(i, total):
        d = jnp.where((packed[i] >= 0)[:, None], d_out[packed[i]], 0)
        return total + kernel_gradient(dtype, fed[packed[i]], d).astype(total.dtype)

    kernel = lax.fori_loop(0, chunks, add, jnp.zeros_like(layer["kernel"]))
    bias = {"bias": d_out.sum(0, dtype=layer["bias"].dtype)} if "bias" in layer else {}
    return {"kernel": kernel} | bias


def _is_dense(context) -> bool:
    return isinstance(context.module, nn.Dense) and context.method_name == "__call__"


def _part(carry):
    """The leaves of a carry that have gradients, and those that have none."""
    moves = lambda x: jnp.issubdtype(x.dtype, jnp.inexact)  # noqa: E731
    return (
        jax.tree.map(lambda x: x if moves(x) else None, carry),
        jax.tree.map(lambda x: None if moves(x) else x, carry),
    )


def _join(moving, still):
    return jax.tree.map(
        lambda m, s: s if m is None else m, moving, still, is_leaf=lambda x: x is None
    )


def _layer(params, path):
    layer = params["params"]
    for name in path:
        layer = layer[name]
    return layer


def _with(params, layers):
    """The parameters with some layers' replaced."""

    def replace(tree, path):
        if path in layers:
            return layers[path]
        if not isinstance(tree, dict):
            return tree
        return {name: replace(sub, (*path, name)) for name, sub in tree.items()}

    return {**params, "params": replace(params["params"], ())}
