"""Beam search by what an evaluator is expected to say (Dai et al., 2017, at testing time)."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_context, check_key, check_some
from capjax.decoding.beam import search, step_beams
from capjax.decoding.completions import complete
from capjax.decoding.draw import fold_in
from capjax.decoding.sample import forbid
from capjax.decoding.trigrams import Said
from capjax.decoding.verdicts import Completer, Starts
from capjax.judging import Evaluator, check_vocabulary
from capjax.speaker import END, UNKNOWN, Carry, Context, Params, Speaker


class Guided(NamedTuple):
    """Captions found by an evaluator's verdict, best first."""

    words: jax.Array  # int32[N, W, T]
    r: jax.Array  # float32[N, W], the evaluator's verdict; -inf where there is no caption


def guided_search(
    speaker: Speaker,
    params: Params,
    evaluator: Evaluator,
    evaluator_params: Params,
    context: Context,
    key: jax.Array,
    *,
    width: int = 3,
    branch: int = 3,
    rollouts: int = 2,
    max_len: int = 20,
    forbid_unknown: bool = False,
    block_trigrams: bool = False,
) -> Guided:
    """Beam search whose score is early feedback V in place of log-probability.

    A hypothesis is worth the mean r of a few completions of it, and once ended r itself. The
    speaker proposes and the evaluator chooses: tried are the likeliest next words of a hypothesis,
    the end where it is one of them.

    Args:
      context: of both.
      key: of the completions, one typed key.
      width: W, hypotheses kept.
      branch: next words tried of each hypothesis.
      rollouts: completions of each extension.
      max_len, forbid_unknown, block_trigrams: as in `beam_search`; completions may say what is
        then not said.
    Returns:
      Guided(words int32[N, W, T], r float32[N, W]).
    Raises:
      ValueError: width, branch, rollouts or max_len below 1, or a context or key that does not
        agree (`capjax.agreement`).
    """
    if min(width, branch, rollouts, max_len) < 1:
        raise ValueError(
            f"width={width}, branch={branch}, rollouts={rollouts} and max_len={max_len} must be at"
            " least 1"
        )
    check_some(check_context(context))
    check_key(key)
    check_vocabulary(speaker, params, context, evaluator)
    memory, carry = speaker.start(params, context)
    image = evaluator.image(evaluator_params, context)
    n = image.shape[0]

    def first_logits():
        _, hidden = speaker.step(params, memory, carry, jnp.full(n, END, jnp.int32))
        return speaker.logits(params, hidden)

    size = jax.eval_shape(first_logits).shape[-1]
    guide = _Guide(
        Completer(speaker, params, memory, evaluator, evaluator_params, image, rollouts, max_len),
        min(branch, size),
        forbid_unknown,
        jax.random.split(key, n),
    )
    tried = jnp.full((n, guide.branch), -1, jnp.int32)
    start = _Hypotheses(
        carry=carry,
        position=jnp.zeros(n, jnp.int32),
        reading=evaluator.start(evaluator_params, n),
        values=jnp.zeros(tried.shape),
        words=tried,
        said=Said.nothing(n, max_len) if block_trigrams else None,
    )
    found = search(partial(_extend, guide), start, width, max_len, falling=False)
    return Guided(found.words, found.log_prob)


class _Guide(NamedTuple):
    """What extends hypotheses, and tells what they are worth."""

    completer: Completer
    branch: int  # K, next words tried of each hypothesis
    forbid_unknown: bool
    keys: jax.Array  # typed keys [N], of the completions


class _Hypotheses(NamedTuple):
    """W hypotheses of each example, before their last word was fed in. Leaves lead with N, W."""

    carry: Carry
    position: jax.Array  # int32[N, W], words fed in
    reading: Carry  # the evaluator's
    values: jax.Array  # float32[N, W, K], V after each of the words tried last
    words: jax.Array  # int32[N, W, K], those words
    said: Said | None  # where trigrams are blocked


def _extend(guide: _Guide, state: _Hypotheses, words: jax.Array) -> tuple[_Hypotheses, jax.Array]:
    """Feeds words int32[N, W] in: the hypotheses after them, and by how much each next word changes
    what they are worth float32[N, W, V], -inf where it was not tried."""
    completer, t = guide.completer, state.position[0, 0]
    carry, hidden = step_beams(completer.speaker)(
        completer.params, completer.memory, state.carry, words
    )
    # The start is not read; the words that follow are.
    after = _read(completer, state.reading, words)
    reading = jax.tree.map(lambda a, b: jnp.where(t > 0, a, b), after, state.reading)
    value = jnp.where(state.words == words[..., None], state.values, 0).sum(-1)

    logits = completer.speaker.logits(completer.params, hidden).astype(jnp.float32)
    n, width, size = logits.shape
    logits = forbid(logits, UNKNOWN) if guide.forbid_unknown else logits
    said = state.said and state.said.add(words)
    logits = said.block(logits) if said else logits
    proposed, tried = lax.top_k(logits, guide.branch)  # [N, W, K]
    values = _expected(guide, carry, reading, tried, t)
    scores = jnp.full((n * width, size), -jnp.inf)
    row = jnp.arange(n * width)[:, None]
    change = jnp.where(proposed > -jnp.inf, values - value[..., None], -jnp.inf)
    scores = scores.at[row, tried.reshape(n * width, -1)].set(change.reshape(n * width, -1))
    state = _Hypotheses(carry, state.position + 1, reading, values, tried, said)
    return state, scores.reshape(n, width, size)


def _expected(
    guide: _Guide, carry: Carry, reading: Carry, tried: jax.Array, t: jax.Array
) -> jax.Array:
    """V after each of the words tried int32[N, W, K] at position t: float32 like them."""
    completer = guide.completer
    n, width, branch = tried.shape
    many = width * branch
    words = tried.reshape(n, many)
    carry, reading = jax.tree.map(lambda x: jnp.repeat(x, branch, 1), (carry, reading))
    carry, hidden = step_beams(completer.speaker)(completer.params, completer.memory, carry, words)
    reading = _read(completer, reading, words)
    every = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
    keys = every(fold_in(guide.keys, t), jnp.arange(many))
    carry, hidden, reading, words, keys = jax.tree.map(
        lambda x: x.reshape(n * many, *x.shape[2:]), (carry, hidden, reading, words, keys)
    )
    starts = Starts(
        row=jnp.repeat(jnp.arange(n), many),
        carry=carry,
        hidden=hidden,
        reading=reading,
        position=jnp.full(n * many, t + 1),
        open=(words != END) & (t + 1 < completer.max_len),
        keys=keys,
    )
    done = complete(completer, starts)
    logits = completer.evaluator.score(
        completer.evaluator_params, completer.image[starts.row], starts.reading
    )
    r = jax.nn.sigmoid(logits).astype(jnp.float32)
    return jnp.where(starts.open, done.value, r).reshape(tried.shape)


def _read(completer: Completer, reading: Carry, words: jax.Array) -> Carry:
    """The evaluator's carry [N, W, ...] after words int32[N, W]."""
    return jax.vmap(completer.evaluator.read, (None, 1, 1), 1)(
        completer.evaluator_params, reading, words
    )
