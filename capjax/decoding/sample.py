"""Captions by drawing or choosing one word after another."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_context, check_key, check_typed
from capjax.decoding.draw import draw_scored, fold_in
from capjax.speaker import END, UNKNOWN, Captions, Context, Params, Speaker, rows_of

FEWEST = 64  # rows that a step is taken for, at least, where there were as many


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
      ValueError: temperature, top_k or top_p out of range, max_len below 1, or a context or key
        that does not agree (`capjax.agreement`).
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0; use greedy for the limit")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k} must be at least 1")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} must be in (0, 1]")

    check_typed(key)
    plain = temperature == 1.0 and not forbid_unknown

    def choose(logits, t, key):
        logits = forbid(logits, UNKNOWN) if forbid_unknown else logits
        word, total = draw_scored(
            fold_in(key, t), logits, temperature=temperature, top_k=top_k, top_p=top_p
        )
        return word, total if plain else None

    return _speak(speaker, params, context, choose, key, max_len)


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
      ValueError: max_len below 1, or a context that does not agree.
    """

    def choose(logits, t, key):
        logits = forbid(logits, UNKNOWN) if forbid_unknown else logits
        return jnp.argmax(logits, -1).astype(jnp.int32), None

    return _speak(speaker, params, context, choose, None, max_len)


def forbid(logits: jax.Array, word: int) -> jax.Array:
    """Logits with one word ruled out."""
    return jnp.where(jnp.arange(logits.shape[-1]) == word, -jnp.inf, logits)


def _sizes(n: int) -> list[int]:
    """How many rows go on together, one after another: three quarters each time, later half.

    Every size is a loop to compile, and the later ones save less.
    """
    sizes = [n]
    while (left := sizes[-1] * 3 // 4 if 4 * sizes[-1] > n else sizes[-1] // 2) >= FEWEST:
        sizes.append(left)
    return sizes


class _Spoken(NamedTuple):
    """What some rows have spoken. Leaves lead with the rows, but for words [T, rows]."""

    carry: Any
    word: jax.Array  # the last one
    done: jax.Array
    words: jax.Array
    log_prob: jax.Array


# (logits, step, keys) -> (a word a row, and where known the logits' logsumexp)
Choose = Callable[[jax.Array, jax.Array, Any], tuple[jax.Array, jax.Array | None]]


def _speak(
    speaker: Speaker,
    params: Params,
    context: Context,
    choose: Choose,
    key: jax.Array | None,
    max_len: int,
) -> Captions:
    """Captions by one chosen word after another.

    Rows whose captions have ended cost as much as others; so when enough of them have, those left
    go on alone (`_sizes`), where what a row draws depends on no other.
    """
    if max_len < 1:
        raise ValueError(f"max_len={max_len} must be at least 1")
    check_context(context)
    memory, carry = speaker.start(params, context)
    n = rows_of(carry, context)
    if key is not None:
        check_key(key, n)
    apart = key is None or key.ndim > 0
    sizes = _sizes(n) if apart else [n]
    step = partial(_step, speaker, params, choose)
    spoken = _Spoken(
        carry,
        jnp.full(n, END, jnp.int32),
        jnp.zeros(n, bool),
        jnp.full((max_len, n), END, jnp.int32),
        jnp.zeros(n, jnp.float32),
    )
    state = jnp.int32(0), spoken
    rows, words, log_prob = jnp.arange(n), spoken.words, spoken.log_prob
    for least in [*sizes[1:], 0]:

        def going(state, least=least):
            return (state[0] < max_len) & ((~state[1].done).sum() > least)

        state = lax.while_loop(going, partial(step, memory, key), state)
        t, spoken = state
        words = words.at[:, rows].set(spoken.words)
        log_prob = log_prob.at[rows].set(spoken.log_prob)
        if least:
            left = jnp.argsort(spoken.done, stable=True)[:least]  # those that go on come first
            rows = rows[left]
            memory, key, rest = jax.tree.map(
                lambda x, left=left: x[left], (memory, key, spoken._replace(words=spoken.words.T))
            )
            state = t, rest._replace(words=rest.words.T)
    return Captions(words.T, log_prob)


def _step(
    speaker: Speaker,
    params: Params,
    choose: Choose,
    memory: Any,
    key: jax.Array | None,
    state: tuple[jax.Array, _Spoken],
) -> tuple[jax.Array, _Spoken]:
    """One word more for every row whose caption goes on."""
    t, spoken = state
    carry, hidden = speaker.step(params, memory, spoken.carry, spoken.word)
    logits = speaker.logits(params, hidden).astype(jnp.float32)
    word, total = choose(logits, t, key)
    word = jnp.where(spoken.done, END, word)
    chosen = jnp.take_along_axis(logits, word[:, None], 1)[:, 0]
    total = jax.nn.logsumexp(logits, -1) if total is None else total
    return t + 1, _Spoken(
        carry,
        word,
        spoken.done | (word == END),
        lax.dynamic_update_index_in_dim(spoken.words, word, t, 0),
        spoken.log_prob + jnp.where(spoken.done, 0, chosen - total),
    )
