"""Training an evaluator to tell people's captions of an image from a speaker's and from others'."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.agreement import check_batch
from capjax.decoding.noise import Noise
from capjax.decoding.sample import sample
from capjax.judging import Evaluator, check_vocabulary, read_all
from capjax.objectives import losses
from capjax.objectives.algorithm import Algorithm, row_keys
from capjax.speaker import Context, Params, Speaker


class EvaluatorState(NamedTuple):
    """The state of an evaluator's training against a speaker that stays as it is."""

    params: Params
    optimizer: Any
    speaker: Params


def evaluator_training(
    speaker: Speaker,
    evaluator: Evaluator,
    optimizer: optax.GradientTransformation,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    noise: Noise = Noise(),  # noqa: B008
) -> Algorithm:
    """Minimises `losses.evaluator` against draws of a speaker that does not learn: what gives
    E-NGAN, and G-GAN's evaluator its start (Dai et al., 2017).

    Returns:
      Algorithm(init, update): init(key, speaker_params, params=None); a batch is {"image" [B, ...],
      "caption" int32[B, T], "mismatched" int32[B, T]}, the last a caption of another image; metrics
      are the loss, mean r by source, and the gradient's norm.
    """

    def init(key: jax.Array, speaker_params: Params, params: Params | None = None):
        params = evaluator.init(key) if params is None else params
        copy = jax.tree.map(jnp.copy, (params, speaker_params))
        return EvaluatorState(copy[0], optimizer.init(params), copy[1])

    def update(state: EvaluatorState, batch: Context, key: jax.Array):
        check_batch(batch, "image", "caption", "mismatched")
        rows, steps = batch["caption"].shape
        keys = jax.vmap(lambda k: jax.random.split(k, 3), out_axes=1)(row_keys(key, rows))
        context = noise.context(batch["image"], keys[0])
        check_vocabulary(speaker, state.speaker, context, evaluator)
        drawn = sample(speaker, state.speaker, context, keys[1], max_len=steps).words

        def loss(params):
            seen = {"image": batch["image"], "dropout": keys[2]}
            logits = three_scores(evaluator, params, seen, batch, drawn)
            each = jax.vmap(lambda *x: losses.evaluator(*x, alpha=alpha, beta=beta))(*logits)
            return each.mean(), logits

        (value, logits), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        shares = jax.nn.sigmoid(logits).mean(1)
        value, shares, gradient = lax.pmean((value, shares, gradient), "data")
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        metrics = {
            "loss": value,
            "r_real": shares[0],
            "r_generated": shares[1],
            "r_mismatched": shares[2],
            "gradient_norm": optax.tree.norm(gradient),
        }
        params = optax.apply_updates(state.params, change)
        return EvaluatorState(params, opt, state.speaker), metrics

    return Algorithm(init, update)


def three_scores(
    evaluator: Evaluator, params: Params, context: Context, batch: Context, drawn: jax.Array
) -> jax.Array:
    """Logits of real, generated and mismatched captions of each image: float32[3, B]."""
    image = evaluator.image(params, context)
    captions = jnp.concatenate([batch["caption"], drawn, batch["mismatched"]])
    carry = read_all(evaluator, params, captions)
    scores = evaluator.score(params, jnp.concatenate([image] * 3), carry)
    return scores.astype(jnp.float32).reshape(3, -1)
