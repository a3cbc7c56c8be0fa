"""What a caption is worth: rewards for self-critical training, all on the device.

A reward is a function (batch, captions int32[B, S, T]) -> float32[B, S] of the S captions drawn of
each image of a batch. In a batch `image` is [B, ...], `distractors` [B, M, ...] where there are
any, and `references` what `cider_reward` reads.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import agree, check_batch, check_captions
from capjax.judging import Evaluator, judge, read_all, score_all
from capjax.metrics.cider import cider_d
from capjax.metrics.ids import without
from capjax.metrics.ngrams import NgramTable
from capjax.speaker import Context, Params

Reward = Callable[[Context, jax.Array], jax.Array]


def cider_reward(table: NgramTable, uncounted: int | None = None) -> Reward:
    """CIDEr-D against the references of the image, 0 to 10 (Rennie et al., 2017).

    A batch's "references" are PackedReferences of its B images, which know whether the end counts.

    Args:
      table: document frequencies, from `ngram_table`.
      uncounted: an id that is no word of CIDEr-D: `SENTENCE` where captions are paragraphs, since
        the official measure sees no full stops, and the references hold none.
    """

    def reward(batch: Context, captions: jax.Array) -> jax.Array:
        check_batch(batch, "references")
        if uncounted is not None:
            captions = without(captions, uncounted)
        return cider_d(captions, batch["references"], table)

    return reward


def evaluator_reward(evaluator: Evaluator, params: Params) -> Reward:
    """r(I, S) of an evaluator, 0 to 1 (Dai et al., 2017), with a batch's "image"."""

    def reward(batch: Context, captions: jax.Array) -> jax.Array:
        check_drawn(batch, captions)
        rows, each, _ = captions.shape
        context = {"image": jnp.repeat(batch["image"], each, 0)}
        logits = judge(evaluator, params, context, captions.reshape(rows * each, -1))
        return jax.nn.sigmoid(logits).reshape(rows, each)

    return reward


def listener_reward(listener: Evaluator, params: Params) -> Reward:
    """ln of the probability that a listener picks the image out of the batch, at most 0.

    Out of the images of all devices and, where the batch has any, the image's own "distractors".

    Args:
      listener, params: a listener that does not learn.
    """

    def reward(batch: Context, captions: jax.Array) -> jax.Array:
        own, others = _own_and_others(listener, params, batch, captions)
        return own - jnp.logaddexp(own, jax.nn.logsumexp(others, -1))

    return reward


def self_retrieval_reward(listener: Evaluator, params: Params, margin: float = 0.2) -> Reward:
    """Minus the hinge by which another image comes within a margin of the own one, at most 0.

    -max_j [margin - s(own) + s(j)]+ with a listener's scores s: the ranking loss of a caption
    against the hardest image (Luo et al., 2018; Liu et al., 2018), out of those of
    `listener_reward`.

    Args:
      listener, params: a listener that does not learn.
      margin: in units of its scores.
    """

    def reward(batch: Context, captions: jax.Array) -> jax.Array:
        own, others = _own_and_others(listener, params, batch, captions)
        return -jax.nn.relu(margin - own + others.max(-1))

    return reward


def check_drawn(batch: Context, captions: jax.Array) -> None:
    """Raises ValueError unless captions int32[B, S, T] are of the images of a batch."""
    check_batch(batch, "image")
    check_captions(captions, "BST")
    agree(batch=batch["image"], captions=captions)


def _own_and_others(
    listener: Evaluator, params: Params, batch: Context, captions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A listener's scores of captions int32[B, S, T]: float32[B, S], float32[B, S, J]."""
    check_drawn(batch, captions)
    rows, each, _ = captions.shape
    carry = read_all(listener, params, captions.reshape(rows * each, -1))
    own, others, _ = among_others(listener, params, batch, carry)
    return own.reshape(rows, each), others.reshape(rows, each, -1)


def among_others(
    listener: Evaluator, params: Params, batch: Context, carry: Any
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A listener's scores of captions with their image and with others.

    Args:
      batch: `image`, `distractors` where there are any, `dropout` keys where it is on.
      carry: of the captions that have been read, N = B S, those of an image together.
    Returns:
      (float32[N] of their own image; float32[N, J] of the images of all devices, -inf at the own
      one, and of the image's distractors; what the images say, float[B, D]).
    """
    rows = batch["image"].shape[0]
    each = jax.tree.leaves(carry)[0].shape[0] // rows
    context = {name: batch[name] for name in {"image", "dropout"} & set(batch)}
    seen = listener.image(params, context)
    shared = lax.all_gather(seen, "data", tiled=True)
    scores = score_all(listener, params, shared, carry)
    place = jnp.repeat(lax.axis_index("data") * rows + jnp.arange(rows), each)
    own = jnp.take_along_axis(scores, place[:, None], 1)[:, 0]
    is_own = jnp.arange(shared.shape[0])[None] == place[:, None]
    others = [jnp.where(is_own, -jnp.inf, scores)]
    if "distractors" in batch:
        around = batch["distractors"]
        count = around.shape[1]
        beside = {"image": around.reshape(rows * count, *around.shape[2:])}
        if "dropout" in batch:
            keys = jax.vmap(lambda key: jax.random.split(key, count))(batch["dropout"])
            beside["dropout"] = keys.reshape(-1)
        looks = listener.image(params, beside).reshape(rows, count, -1)

        def with_one(look: jax.Array) -> jax.Array:
            return listener.score(params, look, carry).astype(jnp.float32)

        others.append(jax.vmap(with_one, 1, 1)(jnp.repeat(looks, each, 0)))
    return own, jnp.concatenate(others, 1), seen
