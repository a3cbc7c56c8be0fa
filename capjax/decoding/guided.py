"""Beam search by what an evaluator is expected to say (Dai et al., 2017, at testing time)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_context, check_key, check_some
from capjax.decoding.beam import search
from capjax.decoding.completions import Starts, complete
from capjax.decoding.draw import fold_in
from capjax.decoding.sample import forbid
from capjax.judging import Evaluator, check_vocabulary
from capjax.speaker import END, UNKNOWN, Context, Params, Speaker


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
      max_len, forbid_unknown: as in `beam_search`; completions may say `<unk>`.
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
    keys = jax.random.split(key, n)
    step = jax.vmap(speaker.step, (None, None, 1, 1), (1, 1))  # an example's share its memory

    read = jax.vmap(evaluator.read, (None, 1, 1), 1)

    def first_scores(carry):
        carry, hidden = speaker.step(params, memory, carry, jnp.full(n, END, jnp.int32))
        return speaker.logits(params, hidden)

    size = jax.eval_shape(first_scores, carry).shape[-1]
    branch = min(branch, size)

    def extend(state, words):
        carry, reading, t = state["carry"], state["reading"], state["position"][0, 0]
        carry, hidden = step(params, memory, carry, words)
        # The start is not read; the words that follow are.
        after = read(evaluator_params, reading, words)
        reading = jax.tree.map(lambda a, b: jnp.where(t > 0, a, b), after, reading)
        value = jnp.where(state["words"] == words[..., None], state["values"], 0).sum(-1)

        logits = speaker.logits(params, hidden).astype(jnp.float32)
        logits = forbid(logits, UNKNOWN) if forbid_unknown else logits
        proposed, tried = lax.top_k(logits, branch)  # [N, W, K]
        values = expected(carry, reading, tried, t)
        scores = jnp.full((n * width, size), -jnp.inf)
        row = jnp.arange(n * width)[:, None]
        change = jnp.where(proposed > -jnp.inf, values - value[..., None], -jnp.inf)
        scores = scores.at[row, tried.reshape(n * width, -1)].set(change.reshape(n * width, -1))
        state = {
            "carry": carry,
            "reading": reading,
            "position": state["position"] + 1,
            "words": tried,
            "values": values,
        }
        return state, scores.reshape(n, width, size)

    def expected(carry, reading, tried, t):
        """V after each of the words tried int32[N, W, K] at position t: float32 like them."""
        many = width * branch
        words = tried.reshape(n, many)
        carry, reading = jax.tree.map(lambda x: jnp.repeat(x, branch, 1), (carry, reading))
        carry, hidden = step(params, memory, carry, words)
        reading = read(evaluator_params, reading, words)
        every = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))
        here = every(fold_in(keys, t), jnp.arange(many))
        carry, hidden, reading, words, here = jax.tree.map(
            lambda x: x.reshape(n * many, *x.shape[2:]), (carry, hidden, reading, words, here)
        )
        starts = Starts(
            row=jnp.repeat(jnp.arange(n), many),
            carry=carry,
            hidden=hidden,
            reading=reading,
            position=jnp.full(n * many, t + 1),
            open=(words != END) & (t + 1 < max_len),
            keys=here,
        )
        done = complete(
            speaker,
            params,
            evaluator,
            evaluator_params,
            memory,
            image,
            starts,
            rollouts=rollouts,
            max_len=max_len,
        )
        r = jax.nn.sigmoid(evaluator.score(evaluator_params, image[starts.row], starts.reading))
        return jnp.where(starts.open, done.value, r.astype(jnp.float32)).reshape(tried.shape)

    tried = jnp.full((n, branch), -1, jnp.int32)
    state = {
        "carry": carry,
        "reading": evaluator.start(evaluator_params, n),
        "position": jnp.zeros(n, jnp.int32),
        "words": tried,
        "values": jnp.zeros(tried.shape),
    }
    found = search(extend, state, width, max_len, falling=False)
    return Guided(found.words, found.log_prob)
