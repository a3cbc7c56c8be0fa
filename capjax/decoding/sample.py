"""Captions by drawing or choosing one word after another."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_context, check_key, check_typed, told
from capjax.decoding.draw import Truncation, draw_scored, fold_in
from capjax.decoding.hoist import hoisted
from capjax.decoding.trigrams import block_trigrams as without_repeats
from capjax.speaker import END, UNKNOWN, Captions, Context, Params, Speaker, rows_of

FEWEST = 64  # rows that a step is taken for on a CPU, at least, where there were as many
MANY = 2048  # rows from which on it pays on an accelerator that the last go on alone


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
    block_trigrams: bool = False,
) -> Captions:
    """Draws one caption for each row of the context, word by word.

    Args:
      key: one typed key, or one a row [N]; all randomness comes from it. With a key a row, what is
        drawn for a row depends on no other row.
      max_len: T, words at most.
      temperature, top_k, top_p: as in `draw`; top-p is nucleus sampling (Holtzman et al., 2020).
        Temperature and top_p may be traced: one program for all.
      forbid_unknown: never draw `<unk>`.
      block_trigrams: never draw a word that would complete a trigram which the caption holds
        already: each word is then drawn, by temperature and truncation, from the speaker's
        distribution over the words that are left, as after a ban. The end is always left.
    Returns:
      Captions(words int32[N, T], log_prob float32[N]): log p under the speaker itself, without
      temperature, truncation or ban, as `log_probs` gives it.
    Raises:
      ValueError: temperature, top_k or top_p out of range, max_len below 1, or a context or key
        that does not agree (`capjax.agreement`).
    """
    if told(temperature) and not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0; use greedy for the limit")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k={top_k} must be at least 1")
    if top_p is not None and told(top_p) and not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} must be in (0, 1]")

    check_typed(key)
    plain = told(temperature) and temperature == 1.0 and not (forbid_unknown or block_trigrams)
    truncation = Truncation(top_k, top_p)
    allowed = partial(_allowed, forbid_unknown, block_trigrams)

    def choose(logits, said, t, key):
        logits = allowed(logits, said, t)
        word, total = draw_scored(key, logits, temperature=temperature, truncation=truncation)
        return word, total if plain else None

    return _speak(speaker, params, context, choose, key, max_len)


def greedy(
    speaker: Speaker,
    params: Params,
    context: Context,
    *,
    max_len: int = 20,
    forbid_unknown: bool = False,
    block_trigrams: bool = False,
) -> Captions:
    """The caption of the likeliest next word at every step, for each row of the context.

    Args:
      max_len, forbid_unknown, block_trigrams: as in `sample`.
    Returns:
      Captions(words int32[N, T], log_prob float32[N]).
    Raises:
      ValueError: max_len below 1, or a context that does not agree.
    """

    def choose(logits, said, t, key):
        logits = _allowed(forbid_unknown, block_trigrams, logits, said, t)
        return jnp.argmax(logits, -1).astype(jnp.int32), None

    return _speak(speaker, params, context, choose, None, max_len)


def forbid(logits: jax.Array, word: int) -> jax.Array:
    """Logits with one word ruled out."""
    return jnp.where(jnp.arange(logits.shape[-1]) == word, -jnp.inf, logits)


def _allowed(
    forbid_unknown: bool, block_trigrams: bool, logits: jax.Array, said: jax.Array, t: jax.Array
) -> jax.Array:
    """Logits float[N, V] of what may be said after t words int32[T, N]."""
    logits = forbid(logits, UNKNOWN) if forbid_unknown else logits
    return without_repeats(logits, said, t) if block_trigrams else logits


class _Spoken(NamedTuple):
    """What some rows have spoken. Leaves lead with the rows, but for words [T, rows]."""

    carry: Any
    words: jax.Array
    log_prob: jax.Array

    def last(self, t: jax.Array) -> jax.Array:
        """The words of step t - 1; before the first step, ends."""
        return lax.dynamic_index_in_dim(self.words, jnp.maximum(t - 1, 0), 0, False)


State = tuple[jax.Array, _Spoken]  # (words so far, what was spoken)

# (logits, words so far [T, rows], how many, key) -> (a word a row, and where known the logits'
# logsumexp)
Choose = Callable[
    [jax.Array, jax.Array, jax.Array, jax.Array | None], tuple[jax.Array, jax.Array | None]
]


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
    go on alone (`_sizes`). What a row draws depends on no other.
    """
    if max_len < 1:
        raise ValueError(f"max_len={max_len} must be at least 1")
    check_context(context)
    memory, carry = speaker.start(params, context)
    n = rows_of(carry, context)
    keys = None
    if key is not None:
        check_key(key, n)
        key = key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
        keys = jax.vmap(partial(fold_in, key))(jnp.arange(max_len))  # before the loop
    run = partial(_run, speaker, choose, max_len)
    return lax.platform_dependent(
        params,
        memory,
        carry,
        keys,
        cpu=partial(run, _sizes(n)),
        default=partial(run, [n, n // 4] if n >= MANY else [n]),
    )


def _sizes(n: int) -> list[int]:
    """How many rows go on together on a CPU, one after another: three quarters each time, later
    half. Every size is a loop to compile, and the later ones save less."""
    sizes = [n]
    while (left := sizes[-1] * 3 // 4 if 4 * sizes[-1] > n else sizes[-1] // 2) >= FEWEST:
        sizes.append(left)
    return sizes


def _run(
    speaker: Speaker,
    choose: Choose,
    max_len: int,
    sizes: list[int],
    params: Params,
    memory: Any,
    carry: Any,
    keys: jax.Array | None,
) -> Captions:
    """Captions of all rows of a carry, drawn by keys [T, N] or by none."""
    n = sizes[0]
    words = jnp.full((max_len, n), END, jnp.int32)
    state = jnp.int32(0), _Spoken(carry, words, jnp.zeros(n, jnp.float32))
    rows, log_prob = jnp.arange(n), state[1].log_prob
    for least in [*sizes[1:], 0]:
        state = _until(speaker, choose, params, memory, keys, state, least)
        t, spoken = state
        words = words.at[:, rows].set(spoken.words)
        log_prob = log_prob.at[rows].set(spoken.log_prob)
        if least:
            # Those that go on come first.
            left = jnp.argsort(spoken.last(t) == END, stable=True)[:least]
            rows, memory = jax.tree.map(lambda x, left=left: x[left], (rows, memory))
            keys = None if keys is None else keys[:, left]
            rest = spoken._replace(words=spoken.words.T)
            rest = jax.tree.map(lambda x, left=left: x[left], rest)
            state = t, rest._replace(words=rest.words.T)
    return Captions(words.T, log_prob)


def _until(
    speaker: Speaker,
    choose: Choose,
    params: Params,
    memory: Any,
    keys: jax.Array | None,
    state: State,
    least: int,
) -> State:
    """Speaks on until all is said, or so few rows are left."""
    max_len = state[1].words.shape[0]

    def extend(carry: Any, word: jax.Array) -> tuple[Any, jax.Array]:
        carry, hidden = speaker.step(params, memory, carry, word)
        return carry, speaker.logits(params, hidden).astype(jnp.float32)

    extend = hoisted(extend, state[1].carry, state[1].words[0])

    def going(state: State) -> jax.Array:
        t, spoken = state
        left = (spoken.last(t) != END).sum() > least
        return (t < max_len) & ((t == 0) | left)

    def one(state: State) -> State:
        t, spoken = state
        last = spoken.last(t)
        carry, logits = extend(spoken.carry, last)
        word, total = choose(logits, spoken.words, t, None if keys is None else keys[t])
        done = (t > 0) & (last == END)
        word = jnp.where(done, END, word)
        chosen = jnp.take_along_axis(logits, word[:, None], 1)[:, 0]
        total = jax.nn.logsumexp(logits, -1) if total is None else total
        words = lax.dynamic_update_index_in_dim(spoken.words, word, t, 0)
        log_prob = spoken.log_prob + jnp.where(done, 0, chosen - total)
        return t + 1, _Spoken(carry, words, log_prob)

    return lax.while_loop(going, one, state)
