"""Training a listener to pick the image that a caption is of out of others."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.agreement import check_batch
from capjax.judging import Evaluator, read_all, score_all
from capjax.objectives.algorithm import Algorithm, row_keys
from capjax.objectives.rewards import among_others
from capjax.speaker import Context, Params


class ListenerState(NamedTuple):
    """The state of a listener's training."""

    params: Params
    optimizer: Any


def listener_training(listener: Evaluator, optimizer: optax.GradientTransformation) -> Algorithm:
    """Minimises the cross-entropy of picking an image by its caption, and a caption by its image.

    Image and caption are picked out of those of the whole batch, over all devices (the symmetric
    loss of van den Oord et al., 2018, and Radford et al., 2021); the image also out of its own
    distractors, where the batch has any.

    Returns:
      Algorithm(init, update): init(key, params=None); a batch is {"image" [B, ...], "caption"
      int32[B, T]}, no image twice, and "distractors" [B, M, ...] of other images. Metrics: `loss`
      (nats, the mean of both), `picked_image` and `picked_caption` (shares picked right) and the
      gradient's norm.
    """

    def init(key: jax.Array, params: Params | None = None) -> ListenerState:
        params = listener.init(key) if params is None else jax.tree.map(jnp.copy, params)
        return ListenerState(params, optimizer.init(params))

    def update(state: ListenerState, batch: Context, key: jax.Array):
        check_batch(batch, "image", "caption")
        rows = batch["image"].shape[0]

        def loss(params):
            carry = read_all(listener, params, batch["caption"])
            seen = {**batch, "dropout": row_keys(key, rows)}
            own, others, look = among_others(listener, params, seen, carry)
            by_caption = jnp.logaddexp(own, jax.nn.logsumexp(others, 1)) - own
            carry = jax.tree.map(lambda x: lax.all_gather(x, "data", tiled=True), carry)
            scores = score_all(listener, params, look, carry).T
            place = lax.axis_index("data") * rows + jnp.arange(rows)
            mine = jnp.take_along_axis(scores, place[:, None], 1)[:, 0]
            by_image = jax.nn.logsumexp(scores, 1) - mine
            metrics = {
                "picked_image": (own > others.max(1)).astype(jnp.float32).mean(),
                "picked_caption": (mine >= scores.max(1)).astype(jnp.float32).mean(),
            }
            return (by_caption.mean() + by_image.mean()) / 2, metrics

        (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        gradient, metrics = lax.pmean((gradient, metrics | {"loss": value}), "data")
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return ListenerState(optax.apply_updates(state.params, change), opt), metrics

    return Algorithm(init, update)
