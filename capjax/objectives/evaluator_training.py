"""Training an evaluator to tell people's captions of an image from a speaker's and from others'."""

from functools import partial
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
from capjax.objectives.algorithm import Algorithm, Metrics, row_keys
from capjax.objectives.altered import Altered
from capjax.objectives.parts import in_parts
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
    accumulate: int = 1,
    swapped: float = 0.0,
    left_out: float = 0.0,
) -> Algorithm:
    """Minimises `losses.evaluator` against draws of a speaker that does not learn: what gives
    E-NGAN, and G-GAN's evaluator its start (Dai et al., 2017).

    Args:
      accumulate: parts of a device's share that are learnt from one after another (`in_parts`).
      swapped, left_out: of captions that are paragraphs, the shares of mismatched ones that are the
        image's own with one sentence of the other image's in it, and with one less (`Altered`).
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
        altered = Altered(swapped, left_out)
        drawn = with_draws(speaker, state.speaker, evaluator, batch, key, noise, altered)
        learner = Learner(evaluator, optimizer, alpha, beta, accumulate)
        params, opt, metrics = learner.update(state.params, state.optimizer, drawn)
        return EvaluatorState(params, opt, state.speaker), metrics

    return Algorithm(init, update)


def with_draws(
    speaker: Speaker,
    params: Params,
    evaluator: Evaluator,
    batch: Context,
    key: jax.Array,
    noise: Noise,
    altered: Altered = Altered(),  # noqa: B008
) -> Context:
    """A batch with captions that a speaker draws of its images, "drawn" int32[B, T], and the keys
    of the evaluator's "dropout"; altered: as in `evaluator_training`.

    Of several batches, leaves [U, B, ...], by keys [U], as many are drawn together as memory may be
    had for.
    """
    lead = batch["caption"].shape[:-1]
    rows = jax.vmap(row_keys, (0, None))(jnp.atleast_1d(key), lead[-1]).reshape(-1)
    noise_keys, keys, dropout = jax.vmap(lambda k: jax.random.split(k, 3), out_axes=1)(rows)

    def draw(given: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        images, noise_keys, keys = given
        context = noise.context(images, noise_keys)
        check_vocabulary(speaker, params, context, evaluator)
        return sample(speaker, params, context, keys, max_len=batch["caption"].shape[-1]).words

    images = batch["image"].reshape(rows.size, *batch["image"].shape[len(lead) :])
    given, parts = (images, noise_keys, keys), _parts(rows.size, lead[-1])
    if parts > 1:
        split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), given)
        drawn = lax.map(draw, split)
    else:
        drawn = draw(given)
    if any(altered):
        own, others = (batch[name].reshape(rows.size, -1) for name in ("caption", "mismatched"))
        others = altered.of(own, others, jax.vmap(_alter_key)(dropout))
        batch = batch | {"mismatched": others.reshape(batch["mismatched"].shape)}
    return batch | {"drawn": drawn.reshape(*lead, -1), "dropout": dropout.reshape(lead)}


TOGETHER = 1024  # images that are taken in at once, unless a batch has more


def _alter_key(key: jax.Array) -> jax.Array:
    """The key of the sentence that is swapped or left out, of a row's dropout key."""
    return jax.random.fold_in(key, 0x5A)


def _parts(count: int, batch: int) -> int:
    """In how many parts whole batches, of `count` rows in all, are drawn for."""
    units = count // max(batch, 1)
    whole = [k for k in range(1, units + 1) if units % k == 0]
    return next((k for k in whole if count // k <= TOGETHER), units)


class Learner(NamedTuple):
    """How an evaluator learns from captions of three sources."""

    evaluator: Evaluator
    optimizer: optax.GradientTransformation
    alpha: float  # of `losses.evaluator`, as beta
    beta: float
    parts: int = 1  # of a batch, read one after another

    def update(self, params: Params, optimizer: Any, batch: Context) -> tuple[Params, Any, Metrics]:
        """One update from a batch of `with_draws`: (parameters, the optimizer's state, metrics)."""
        one = partial(losses.evaluator, alpha=self.alpha, beta=self.beta)

        def means(batch: Context) -> tuple[jax.Array, jax.Array, Params]:
            def loss(params: Params) -> tuple[jax.Array, jax.Array]:
                logits = three_scores(self.evaluator, params, batch)
                return jax.vmap(one)(*logits).mean(), logits

            (value, logits), gradient = jax.value_and_grad(loss, has_aux=True)(params)
            return value, jax.nn.sigmoid(logits).mean(1), gradient

        value, shares, gradient = lax.pmean(in_parts(means, batch, self.parts), "data")
        change, optimizer = self.optimizer.update(gradient, optimizer, params)
        metrics = {
            "loss": value,
            "r_real": shares[0],
            "r_generated": shares[1],
            "r_mismatched": shares[2],
            "gradient_norm": optax.tree.norm(gradient),
        }
        return optax.apply_updates(params, change), optimizer, metrics


def three_scores(evaluator: Evaluator, params: Params, batch: Context) -> jax.Array:
    """Logits of real, drawn and mismatched captions of each image: float32[3, B]."""
    seen = {name: batch[name] for name in {"image", "dropout"} & set(batch)}
    image = evaluator.image(params, seen)
    captions = jnp.concatenate([batch["caption"], batch["drawn"], batch["mismatched"]])
    carry = read_all(evaluator, params, captions)
    scores = evaluator.score(params, jnp.concatenate([image] * 3), carry)
    return scores.astype(jnp.float32).reshape(3, -1)
