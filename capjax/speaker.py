"""The contract that all else speaks to: a captioner as pure functions over ids."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import agree, check_broadcast, check_captions, check_context, seen
from capjax.teacher_forcing import caption_total, weighted_log_prob, word_log_probs

Params = Any
Context = dict[str, jax.Array]
Carry = Any

END = 0  # closes a caption, pads what follows, and is the first word fed in
UNKNOWN = 1
SENTENCE = 2  # ends a sentence, where captions are paragraphs; else a word like any other


class Captions(NamedTuple):
    """Captions spoken by a decoder."""

    words: jax.Array  # int32 [N, T], or [N, W, T] from beam search, best first
    log_prob: jax.Array  # float32 [N] or [N, W]: nats, the sum over the words and their end


class Speaker(NamedTuple):
    """A captioner. All leaves of context, memory and carry lead with the batch axis N.

    `context` holds `image` and, where the model has them, `noise` [N, Z] and `concept` int32[N];
    with `dropout` (typed keys [N]) dropout is on, and the same key gives the same masks.
    """

    init: Callable[[jax.Array], Params]  # (key) -> params
    start: Callable[[Params, Context], tuple[Any, Carry]]  # -> (memory, carry) before a word
    step: Callable[[Params, Any, Carry, jax.Array], tuple[Carry, jax.Array]]
    # (params, memory, carry, words int32[N]) -> (carry, hidden float[N, H])
    logits: Callable[[Params, jax.Array], jax.Array]  # (params, hidden [..., H]) -> [..., V]
    recite: Callable | None = None  # optional, for speed: every step at once, of known words
    # (params, memory, carry, words int32[N, T], lengths int32[N]) -> hidden float[N, T, H]; memory
    # and carry may have N / K rows, each for K rows of words in turn


def scored(captions: jax.Array) -> jax.Array:
    """Marks what is scored: the words and the first end. int32[..., T] -> bool[..., T]."""
    ends = (captions == END).astype(jnp.int32)
    return jnp.cumsum(ends, axis=-1) == ends


def spoken(captions: jax.Array) -> jax.Array:
    """Marks the words of captions: those before the first end. int32[..., T] -> bool[..., T]."""
    return jnp.cumsum(captions == END, axis=-1) == 0


def shift(captions: jax.Array) -> jax.Array:
    """The words fed in when captions are read back: the end, then all but the last word."""
    first = jnp.full_like(captions[..., :1], END)
    return jnp.concatenate([first, captions[..., :-1]], axis=-1)


def log_probs(speaker: Speaker, params: Params, context: Context, captions: jax.Array) -> jax.Array:
    """Log-probability of each word of captions and of their end, by teacher forcing.

    Args:
      captions: int32[N, T]; row i is read with row i of the context.
    Returns:
      float32[N, T] in nats; 0 after the end.
    Raises:
      ValueError: captions and context do not agree (`capjax.agreement`), or an id is not the
        speaker's.
    """
    check_captions(captions)
    return score(speaker, params, context, shift(captions), captions)[0]


def score(
    speaker: Speaker,
    params: Params,
    context: Context,
    inputs: jax.Array,
    captions: jax.Array,
    mean: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """`log_probs` in general: other words fed in than scored, several captions an image.

    Args:
      inputs, captions: int32[N, T], the words fed in and the words scored; or int32[N, K, T], K
        captions for each row of the context, whose image is then taken in once. They share a
        dropout mask.
      mean: whether the second return is wanted; without it, it is 0.
    Returns:
      (log-probability of each scored word, mean log-probability over the vocabulary there), both
      float32 like captions, in nats and 0 after the end; the second is what label smoothing adds.
    Raises:
      ValueError: as `log_probs`.
    """
    check_words(speaker, params, context, captions, inputs)
    hidden, flat = _recited(speaker, params, context, inputs, captions)
    pair = word_log_probs(speaker.logits, params, hidden, flat, scored(flat), mean)
    return pair[0].reshape(captions.shape), pair[1].reshape(captions.shape)


def weighted_score(
    speaker: Speaker,
    params: Params,
    context: Context,
    inputs: jax.Array,
    captions: jax.Array,
    weights: jax.Array,
    even: jax.Array | None = None,
    choice: tuple[Sequence[int], jax.Array] | None = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """A weighted sum of what `score` gives, whose gradient costs less time and far less memory.

    Args:
      weights: float like captions or broadcast to them, of the scored words' log-probabilities: an
        advantage, minus one over the number of words. No gradient flows to it.
      even: the same of the mean log-probabilities over the vocabulary; None for none.
      choice: some ids, and the weights of the log-probabilities of those scored words that are
        among them, given that it is one of them; None for none. Words that are not among them cost
        nothing more.
    Returns:
      (float[], what `score` returns, without a gradient).
    Raises:
      ValueError: as `log_probs`, or weights that are not like captions.
    """
    check_words(speaker, params, context, captions, inputs)
    hidden, flat = _recited(speaker, params, context, inputs, captions)
    weights, even = _spread(weights, captions), None if even is None else _spread(even, captions)
    real = scored(flat)
    total, pair = weighted_log_prob(speaker.logits, params, hidden, flat, real, weights, even)
    if choice is not None:
        ids, weights = choice
        total += _choice_score(speaker, params, hidden, flat, ids, _spread(weights, captions))
    return total, (pair[0].reshape(captions.shape), pair[1].reshape(captions.shape))


def caption_score(
    speaker: Speaker,
    params: Params,
    context: Context,
    captions: jax.Array,
    value: Callable[[jax.Array, jax.Array], jax.Array],
    beside: jax.Array,
    weights: jax.Array | None = None,
    even: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The sum over captions of a function of their log-probabilities, cheap in time and memory.

    Its gradient costs what that of a weighted sum does (`weighted_score`), though the weights, the
    slopes of the function, are known only when a caption has been read to its end.

    Args:
      captions: int32[N, T], or int32[N, K, T] with K captions for each row of the context.
      value: (log-probability float32[], its part of beside) -> float32[], of one caption.
      beside: float32, led by the axes of the captions; no gradient flows to it.
      weights, even: as in `weighted_score`, whose sum is added to this one; None for no such sum.
        A word that weighs 0 in both is not projected again.
    Returns:
      (float32[], log-probabilities of captions float32[N] or [N, K], without a gradient).
    Raises:
      ValueError: as `weighted_score`, or beside that is not led by the captions' axes.
    """
    check_words(speaker, params, context, captions)
    if beside.shape[: captions.ndim - 1] != captions.shape[:-1]:
        raise ValueError(
            f"beside {list(beside.shape)} and captions {list(captions.shape)} do not agree; give a"
            " row for each caption"
        )
    hidden, flat = _recited(speaker, params, context, shift(captions), captions)
    beside = beside.reshape(flat.shape[0], *beside.shape[captions.ndim - 1 :])
    real = scored(flat)
    total, log_p = caption_total(speaker.logits, value, params, hidden, flat, real, beside)
    if weights is not None:
        even = jnp.zeros(()) if even is None else even
        weights, even = _spread(weights, captions), _spread(even, captions)
        real &= (weights != 0) | (even != 0)
        total += weighted_log_prob(speaker.logits, params, hidden, flat, real, weights, even)[0]
    return total, log_p.reshape(captions.shape[:-1])


def check_words(
    speaker: Speaker,
    params: Params,
    context: Context,
    captions: jax.Array,
    inputs: jax.Array | None = None,
) -> None:
    """Raises ValueError where captions [N, T] or [N, K, T], and what is fed in, do not fit."""
    check_context(context)
    axes = "NKT" if getattr(captions, "ndim", 2) == 3 else "NT"
    each = {"captions": captions} if inputs is None else {"captions": captions, "inputs": inputs}
    for name, words in each.items():
        check_captions(words, axes, name)
        if seen(words):
            check_captions(words, axes, name, vocabulary_size(speaker, params, context))
    agree(context=context, **each)
    if inputs is not None and inputs.shape != captions.shape:
        raise ValueError(
            f"inputs {list(inputs.shape)} and captions {list(captions.shape)} do not agree; feed in"
            " a word for each that is scored"
        )


def vocabulary_size(speaker: Speaker, params: Params, context: Context) -> int | None:
    """V, the ids that a speaker knows, without computing; None where a user's does not tell so."""

    def first() -> jax.Array:
        memory, carry = speaker.start(params, context)
        words = jnp.full(rows_of(carry, context), END, jnp.int32)
        return speaker.logits(params, speaker.step(params, memory, carry, words)[1])

    try:
        logits = jax.eval_shape(first)
    except Exception:  # whatever it is, the call itself meets it, too
        return None
    return logits.shape[-1] if logits.ndim > 1 else None


def rows_of(carry: Carry, context: Context) -> int:
    """N of a carry; of the context, where a speaker keeps nothing."""
    return jax.tree.leaves((carry, context))[0].shape[0]


def _choice_score(
    speaker: Speaker,
    params: Params,
    hidden: jax.Array,
    captions: jax.Array,
    ids: Sequence[int],
    weights: jax.Array,
) -> jax.Array:
    """The weighted sum of log p(word | it is one of the ids), of captions int32[N, T]: float[]."""

    def logits(params: Params, hidden: jax.Array) -> jax.Array:
        every = speaker.logits(params, hidden)
        return jnp.stack([every[..., i] for i in ids], -1)

    chosen = jnp.stack([captions == i for i in ids], -1)
    real = scored(captions) & chosen.any(-1)
    which = jnp.argmax(chosen, -1).astype(jnp.int32)
    return weighted_log_prob(logits, params, hidden, which, real, weights)[0]


def _spread(weight: jax.Array, captions: jax.Array) -> jax.Array:
    """A weight for every word of captions, in rows: [M, T]."""
    check_broadcast(weight, captions, "weights", "captions")
    return jnp.broadcast_to(weight, captions.shape).reshape(-1, captions.shape[-1])


def repeated(speaker: Speaker, each: int) -> Speaker:
    """The speaker that takes each row of a context in once, and speaks `each` captions of it."""

    def start(params: Params, context: Context) -> tuple[Any, Carry]:
        return jax.tree.map(lambda x: jnp.repeat(x, each, 0), speaker.start(params, context))

    return speaker._replace(start=start) if each > 1 else speaker


def _recited(
    speaker: Speaker, params: Params, context: Context, inputs: jax.Array, captions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Hidden states before each word, and the captions that they are of, in rows: [M, T, H]."""
    each = captions.shape[1] if captions.ndim == 3 else 1
    if captions.ndim == 3:
        inputs, captions = (x.reshape(-1, x.shape[-1]) for x in (inputs, captions))
    if speaker.recite:
        memory, carry = speaker.start(params, context)
        lengths = scored(captions).sum(-1)
        return speaker.recite(params, memory, carry, inputs, lengths), captions
    memory, carry = repeated(speaker, each).start(params, context)
    step = partial(speaker.step, params, memory)
    return jnp.moveaxis(lax.scan(step, carry, inputs.T)[1], 0, 1), captions
