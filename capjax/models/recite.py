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

from capjax.teacher_forcing import matmul_rows, pack

Path = tuple[str, ...]


class Blocks(NamedTuple):
    """Rows sorted by length and dealt into blocks, the last filled up with copies of row 0."""

    row: jax.Array  # int32[B, rows], the row of the batch
    longest: jax.Array  # int32[B], steps that the block is run
    back: jax.Array  # int32[N], where each row of the batch lies in the flattened blocks

    def deal(self, tree: Any) -> Any:
        """Leaves [N, ...] -> [B, rows, ...]."""
        return jax.tree.map(lambda x: x[self.row], tree)

    def deal_steps(self, x: jax.Array) -> jax.Array:
        """[N, T, ...] -> [B, T, rows, ...]."""
        return jnp.moveaxis(x[self.row], 2, 1)

    def gather(self, tree: Any) -> Any:
        """Undoes `deal`."""
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[self.back], tree)

    def gather_steps(self, x: jax.Array) -> jax.Array:
        """Undoes `deal_steps`."""
        return self.gather(jnp.moveaxis(x, 1, 2))


def _blocks(lengths: jax.Array, width: int) -> Blocks:
    # The narrower the network, the more rows until its matmuls outweigh the cost of a step.
    n, rows = lengths.size, matmul_rows(lengths.size, cpu=max(64, 2**24 // width**2))
    order = jnp.argsort(-lengths)
    row = jnp.concatenate([order, jnp.zeros(-n % rows, order.dtype)]).reshape(-1, rows)
    return Blocks(row, lengths[row[:, 0]], jnp.argsort(order))


def reciter(module: nn.Module) -> Callable:
    """Makes `Speaker.recite` for a module with the methods `embed` and `advance`.

    `advance` must use each of its dense layers once a step.
    """

    @jax.custom_vjp
    def recur(params, memory, moving, still, embedded, lengths):
        blocks = _blocks(lengths, embedded.shape[-1])
        dealt = blocks.deal((memory, moving, still)), blocks.deal_steps(embedded)
        return blocks.gather_steps(_run(module, params, *dealt, blocks.longest, False)[0])

    def forward(params, memory, moving, still, embedded, lengths):
        blocks = _blocks(lengths, embedded.shape[-1])
        dealt = blocks.deal((memory, moving, still)), blocks.deal_steps(embedded)
        hidden, kept = _run(module, params, *dealt, blocks.longest, True)
        return blocks.gather_steps(hidden), (params, dealt, lengths, blocks, kept)

    def backward(saved, d_hidden):
        params, ((memory, _, _), embedded), lengths, blocks, kept = saved
        real = blocks.deal_steps(jnp.arange(d_hidden.shape[1])[None] < lengths[:, None])
        # Rows that fill up the last block repeat a row of the batch: they have no gradient.
        fills = jnp.arange(blocks.row.size).reshape(blocks.row.shape) >= lengths.size
        real &= ~fills[:, None]
        d_hidden = jnp.where(real[..., None], blocks.deal_steps(d_hidden), 0)
        d_params, d_memory, d_moving, d_taps, d_embedded = _run_back(
            module, params, memory, embedded, kept, d_hidden, blocks.longest
        )
        # Steps that no row of a block has still hold what was fed in.
        d_embedded = jnp.where(real[..., None], d_embedded, 0)
        packed = pack(real)
        weights = {
            path: _dense_gradient(_layer(params, path), kept.fed[path], d, *packed)
            for path, d in d_taps.items()
        }
        return (
            _with(d_params, weights),
            *blocks.gather((d_memory, d_moving)),
            None,
            blocks.gather_steps(d_embedded),
            None,
        )

    recur.defvjp(forward, backward)

    def recite(params, memory, carry, words, lengths):
        embedded = module.apply(params, words, method="embed")
        return recur(params, memory, *_part(carry), embedded, lengths)

    return recite


class Kept(NamedTuple):
    """What the backward pass needs of each step; leaves [B, T, rows, ...]."""

    moving: Any  # the carry before the step: what has a gradient
    still: Any  # and what has none
    fed: dict[Path, jax.Array]  # inputs of the dense layers
    made: dict[Path, jax.Array]  # and their outputs


def _run(module, params, rows, embedded, longest, keep):
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
    hidden, made = jax.eval_shape(step, *first)[1]
    if keep:  # keys have no zeros, so the buffer of what stands still starts as what it was
        made = made._replace(still=first[2])
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
        mine, moving, still = jax.tree.map(lambda x: x[b], rows)
        return lax.fori_loop(0, longest[b], partial(one, b, mine), ((moving, still), kept))[1]

    return lax.fori_loop(0, longest.size, block, blank)


def _run_back(module, params, memory, embedded, kept, d_hidden, longest):
    """Gradients of parameters (dense layers' left out), memory, carry, layer outputs and inputs.

    Of layer outputs and inputs each takes the place of the value it belongs to, which is read no
    more: large buffers are what a step of training waits for.
    """

    def one(b, mine, i, state):
        d_moving, d_params, d_mine, made, embedded = state
        t = longest[b] - 1 - i
        before = jax.tree.map(lambda x: x[b, t], kept._replace(made=made))

        def advance(params, taps, mine, moving, x):
            def reuse(call, args, kwargs, context):
                if not _is_dense(context):
                    return call(*args, **kwargs)
                path = context.module.path
                kernel = _layer(params, path)["kernel"]
                return _known(kernel, args[0], before.made[path]) + taps[path]

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
        mine = jax.tree.map(lambda x: x[b], memory)
        end = jax.tree.map(lambda x: jnp.zeros_like(x[b]), d_all)
        state = (end, d_params, jax.tree.map(jnp.zeros_like, mine), made, embedded)
        state = lax.fori_loop(0, longest[b], partial(one, b, mine), state)
        d_moving, d_params, d_mine, made, embedded = state
        put = partial(jax.tree.map, lambda all_, new: all_.at[b].set(new))
        return d_params, put(d_memory, d_mine), put(d_all, d_moving), made, embedded

    start = jax.tree.map(lambda x: x[:, 0], kept.moving)
    zeros = jax.tree.map(jnp.zeros_like, (params, memory, start))
    return lax.fori_loop(0, longest.size, block, (*zeros, kept.made, embedded))


@jax.custom_vjp
def _known(kernel, x, out):
    """A dense layer's output that is known already: only its input gets a gradient."""
    return out


def _known_backward(saved, d_out):
    kernel, like = saved
    d_x = jnp.einsum("...y,xy->...x", d_out, kernel.astype(d_out.dtype))
    return jnp.zeros_like(kernel), d_x.astype(like.dtype), jnp.zeros_like(d_out)


_known.defvjp(lambda kernel, x, out: (out, (kernel, x[:0])), _known_backward)


def _dense_gradient(layer, fed, d_out, packed, chunks):
    """Gradient of a dense layer from its inputs and the gradient of its outputs."""
    fed, d_out = (x.reshape(-1, x.shape[-1]) for x in (fed, d_out))

    def add(i, total):
        d = jnp.where((packed[i] >= 0)[:, None], d_out[packed[i]], 0)
        product = jnp.einsum("nx,ny->xy", fed[packed[i]], d, preferred_element_type=total.dtype)
        return total + product

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
