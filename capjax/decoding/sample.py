"""Captions by drawing or choosing one word after another."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from capjax.decoding.draw import draw_scored, fold_in
from capjax.speaker import END, UNKNOWN, Captions, Context, Params, Speaker


def sample(
    speaker: Speaker,
    params: Params,
    context: Context,
    key: jax.Array,
    *,
    max_len: int = 20,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    forbid_unknown: bool = False,
) -> Captions:
    """Draws one caption for each row of the context, word by word.

    Args:
      key: one typed key, or one a row [N]; all randomness comes from it. With a key a row, what is
        drawn for a row depends on no other row.
      max_len: T, words at most.
      temperature, top_k, top_p: as in `draw`; top-p is nucleus sampling (Holtzman et al., 2020).
      forbid_unknown: never draw `<unk>`.
    Returns:
      Captions(words int32[N, T], log_prob float32[N]): log p under the speaker itself, without
      temperature, truncation or ban, as `log_probs` gives it.
    Raises:
      ValueError: temperature, top_k or top_p out of range, or max_len below 1.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0; use greedy for the limit")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k} must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} must be in (0, 1]")

    plain = temperature == 1.0 and not forbid_unknown

    def choose(logits, t):
        word, total = draw_scored(
            fold_in(key, t), logits, temperature=temperature, top_k=top_k, top_p=top_p
        )
        return word, total if plain else None

    return _speak(speaker, params, context, choose, max_len, forbid_unknown)


def greedy(
    speaker: Speaker,
    params: Params,
    context: Context,
    *,
    max_len: int = 20,
    forbid_unknown: bool = False,
) -> Captions:
    """The caption of the likeliest next word at every step, for each row of the context.

    Returns:
      Captions(words int32[N, T], log_prob float32[N]).
    Raises:
      ValueError: max_len below 1.
    """

    def choose(logits, t):
        return jnp.argmax(logits, -1).astype(jnp.int32), None

    return _speak(speaker, params, context, choose, max_len, forbid_unknown)


def forbid(logits: jax.Array, word: int) -> jax.Array:
    """Logits with one word ruled out."""
    return jnp.where(jnp.arange(logits.shape[-1]) == word, -jnp.inf, logits)


def _speak(
    speaker: Speaker,
    params: Params,
    context: Context,
    choose: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array | None]],
    max_len: int,
    forbid_unknown: bool,
) -> Captions:
    """choose: (logits, step) -> (a word a row, and where known the logits' logsumexp)."""
    if max_len < 1:
        raise ValueError(f"max_len={max_len} must be at least 1")
    memory, carry = speaker.start(params, context)
    n = jax.tree.leaves(carry)[0].shape[0]

    def one(state):
        t, carry, word, done, captions, log_prob = state
        carry, hidden = speaker.step(params, memory, carry, word)
        logits = speaker.logits(params, hidden).astype(jnp.float32)
        word, total = choose(forbid(logits, UNKNOWN) if forbid_unknown else logits, t)
        word = jnp.where(done, END, word)
        chosen = jnp.take_along_axis(logits, word[:, None], 1)[:, 0]
        total = jax.nn.logsumexp(logits, -1) if total is None else total
        log_prob += jnp.where(done, 0, chosen - total)
        captions = lax.dynamic_update_index_in_dim(captions, word, t, 0)
        return t + 1, carry, word, done | (word == END), captions, log_prob

    start = (
        jnp.int32(0),
        carry,
        jnp.full(n, END, jnp.int32),
        jnp.zeros(n, bool),
        jnp.full((max_len, n), END, jnp.int32),
        jnp.zeros(n, jnp.float32),
    )
    state = lax.while_loop(lambda s: (s[0] < max_len) & ~s[3].all(), one, start)
    return Captions(state[4].T, state[5])
