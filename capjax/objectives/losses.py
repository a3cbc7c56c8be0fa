"""The losses on one example; vmap them for a batch (`capjax.losses`)."""

import jax
import jax.numpy as jnp

from capjax.agreement import check_array, check_captions, check_example, spec
from capjax.speaker import scored


def maximum_likelihood(log_probs: jax.Array, caption: jax.Array) -> jax.Array:
    """Negative log-likelihood of one caption: minus the sum of its words' log-probabilities.

    Args:
      log_probs: float[T] in nats, of each word and the end.
      caption: int32[T].
    Returns:
      float[] in nats, not divided by the length.
    Raises:
      ValueError: arrays of other shapes, as a batch's are.
    """
    check_captions(caption, "T", "caption")
    check_example(caption.shape, log_probs=log_probs)
    return -jnp.where(scored(caption), log_probs, 0).sum()


def evaluator(
    real: jax.Array,
    generated: jax.Array,
    mismatched: jax.Array,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
) -> jax.Array:
    """What an evaluator minimises of one image: -ln r(real) - alpha ln(1 - r(generated)) - beta
    ln(1 - r(mismatched)), cross-entropy with three sources of captions (Dai et al., 2017, eq. 5).

    Args:
      real, generated, mismatched: float[], logits of a person's caption of the image, of the
        speaker's, and of a person's caption of another image.
      alpha, beta: weights of the last two.
    Returns:
      float[] in nats.
    Raises:
      ValueError: as `maximum_likelihood`.
    """
    check_example((), real=real, generated=generated, mismatched=mismatched)
    return (
        jax.nn.softplus(-real)
        + alpha * jax.nn.softplus(generated)
        + beta * jax.nn.softplus(mismatched)
    )


def policy_gradient(log_probs: jax.Array, values: jax.Array, caption: jax.Array) -> jax.Array:
    """What has the policy gradient of one drawn caption: minus the sum of values times log p.

    The gradient is that of REINFORCE with a value a word (Sutton et al., 2000; Dai et al., 2017,
    eq. 4); the number itself means nothing. No gradient flows to the values.

    Args:
      log_probs: float[T] in nats, of each word and the end.
      values: float[T], of the caption after each word, less a baseline where there is one.
      caption: int32[T].
    Returns:
      float[].
    Raises:
      ValueError: as `maximum_likelihood`.
    """
    check_captions(caption, "T", "caption")
    check_example(caption.shape, log_probs=log_probs, values=values)
    values = jax.lax.stop_gradient(values)
    return -jnp.where(scored(caption), values * log_probs, 0).sum()


def contrastive(
    log_p: jax.Array,
    log_q: jax.Array,
    log_p_mismatched: jax.Array,
    log_q_mismatched: jax.Array,
    *,
    nu: float = 1.0,
) -> jax.Array:
    """-ln h(true) - mean_k ln(1 - h(mismatched_k)) of one image (Dai & Lin, 2017, eqs. 5 to 8).

    h = 1 / (1 + nu exp(-G)), G = ln p - ln q; in a form that overflows for no G.

    Args:
      log_p, log_q: float[] in nats, of the image's caption by the target and by the reference.
      log_p_mismatched, log_q_mismatched: float[K], of captions of other images.
      nu: above 0.
    Returns:
      float[] in nats.
    Raises:
      ValueError: as `maximum_likelihood`, or K is 0.
    """
    check_example((), log_p=log_p, log_q=log_q)
    check_example(jnp.shape(log_p_mismatched), log_q_mismatched=log_q_mismatched)
    check_array(log_p_mismatched, "log_p_mismatched")
    if log_p_mismatched.ndim != 1 or not log_p_mismatched.size:
        raise ValueError(
            f"log_p_mismatched is {spec(log_p_mismatched)}; give float[K] of at least one caption"
        )
    true = log_p - log_q - jnp.log(nu)
    mismatched = log_p_mismatched - log_q_mismatched - jnp.log(nu)
    return jax.nn.softplus(-true) + jax.nn.softplus(mismatched).mean()


def self_critical(
    log_probs: jax.Array, reward: jax.Array, baseline: jax.Array, caption: jax.Array
) -> jax.Array:
    """Minus (reward - baseline) times log p of one drawn caption (Rennie et al., 2017, eq. 7).

    Args:
      log_probs: float[T] in nats, of each word and the end.
      reward, baseline: float[], of the caption; no gradient flows to them.
      caption: int32[T].
    Returns:
      float[]; its gradient is meant, not the number.
    Raises:
      ValueError: as `maximum_likelihood`.
    """
    check_example((), reward=reward, baseline=baseline)
    check_captions(caption, "T", "caption")
    return policy_gradient(log_probs, jnp.broadcast_to(reward - baseline, caption.shape), caption)
