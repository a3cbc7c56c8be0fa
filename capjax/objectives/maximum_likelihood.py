"""Maximum likelihood: the training every other algorithm starts from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.agreement import check_batch
from capjax.decoding.draw import draw
from capjax.objectives.algorithm import Algorithm, follow, row_keys
from capjax.objectives.parts import in_parts, words_of_part
from capjax.speaker import END, SENTENCE, Context, Params, Speaker, shift, weighted_score


class State(NamedTuple):
    """The state of maximum-likelihood training."""

    params: Params
    average: Params  # decaying average of params: what is decoded; params itself if decay is 0
    optimizer: Any
    step: jax.Array  # int32[]


def maximum_likelihood(
    speaker: Speaker,
    optimizer: optax.GradientTransformation,
    *,
    label_smoothing: float = 0.0,
    scheduled_sampling: Callable[[jax.Array], Any] | None = None,
    average: float = 0.0,
    accumulate: int = 1,
    stop_weight: float = 1.0,
) -> Algorithm:
    """Minimises the negative log-likelihood of people's captions, a mean over words (Vinyals 2015).

    Args:
      label_smoothing: share of each target spread over the vocabulary (Szegedy et al., 2016).
      scheduled_sampling: step -> probability that a word fed in is the speaker's own draw (Bengio
        et al., 2015); None for never.
      average: decay of the average of the parameters, 0 for none; at step s at most s / (s + 10),
        a polynomial-decay mean (Shamir & Zhang, 2013).
      accumulate: parts of a device's share that are learnt from one after another (`in_parts`).
      stop_weight: of the choice to end a paragraph or to go on, where captions are paragraphs; 1 is
        likelihood itself. After a sentence that is log p(the word | it is the end or `SENTENCE`),
        and the likelihood of what is said there the sum of it and of log p(the sentence ends).
        Krause et al. (2017) weigh it 5 times as much as words.
    Returns:
      Algorithm(init, update): init(key, params=None) starts from new parameters or from `params`;
      a batch is {"image", ..., "caption" int32[B, T] or [B, K, T]}; metrics are `loss` (what is
      minimised) and `nll` (nats a word), means over the batch, and the gradient's global norm.
    """

    def init(key: jax.Array, params: Params | None = None) -> State:
        # Copies: an update gives up the state's buffers, and may not be given one of them twice.
        params = speaker.init(key) if params is None else jax.tree.map(jnp.copy, params)
        averaged = jax.tree.map(jnp.copy, params) if average else ()
        return State(params, averaged, optimizer.init(params), jnp.int32(0))

    def update(state: State, batch: Context, key: jax.Array) -> tuple[State, dict]:
        check_batch(batch, "caption")
        captions = batch["caption"]
        dropout_key, words_key = jax.random.split(key)
        context = {name: x for name, x in batch.items() if name != "caption"}
        masks = row_keys(dropout_key, captions.shape[0])
        own, rate = None, 0.0
        if scheduled_sampling is not None:
            own = row_keys(words_key, captions[..., 0].size)
            rate = scheduled_sampling(state.step)
        words = words_of_part(captions, accumulate)

        def means(rows: Any) -> tuple[Params, tuple[jax.Array, jax.Array]]:
            context, captions, masks, own = rows
            inputs = shift(captions)
            if own is not None:
                inputs = own_words(speaker, state.params, context, captions, own, rate)
            masked = {**context, "dropout": masks}

            def loss(params):
                even = -label_smoothing / words if label_smoothing > 0 else None
                plain = (label_smoothing - 1) / words
                stops = (END, SENTENCE), (1 - stop_weight) / words
                value, (chosen, _) = weighted_score(
                    speaker,
                    params,
                    masked,
                    inputs,
                    captions,
                    plain,
                    even,
                    choice=stops if stop_weight != 1 else None,
                )
                return value, -chosen.sum() / words

            (value, nll), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
            return gradient, (value, nll)

        rows = context, captions, masks, own
        gradient, (value, nll) = lax.pmean(in_parts(means, rows, accumulate), "data")
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, change)
        # Early on a polynomial-decay mean, in which the start is soon forgotten.
        step = state.step.astype(jnp.float32)
        averaged = follow(state.average, params, jnp.minimum(average, step / (step + 10)))
        metrics = {"loss": value, "nll": nll, "gradient_norm": optax.tree.norm(gradient)}
        return State(params, averaged, opt, state.step + 1), metrics

    return Algorithm(init, update)


def caption_loss(
    speaker: Speaker,
    params: Params,
    context: Context,
    captions: jax.Array,
    weight: float,
    words: jax.Array,
) -> jax.Array:
    """Maximum likelihood beside another loss: weight times nats a word of captions int32[N, T].

    words: as of `words_of_part`, by which the sum is divided.
    -> float[].
    """
    each = jnp.float32(-weight) / words
    return weighted_score(speaker, params, context, shift(captions), captions, each)[0]


def own_words(
    speaker: Speaker,
    params: Params,
    context: Context,
    captions: jax.Array,
    keys: jax.Array,
    rate: jax.Array | float,
) -> jax.Array:
    """Words to feed in: a draw of the speaker's own with probability `rate`, else the caption's.

    Args:
      captions: int32[N, T], or int32[N, K, T] with K captions for each row of the context.
      keys: typed keys [N] or [N K].
    Returns:
      The words fed in, the start included, like captions.
    """
    given, captions = captions.shape, captions.reshape(-1, captions.shape[-1])
    each = captions.shape[0] // given[0]
    context = jax.tree.map(lambda x: jnp.repeat(x, each, 0), context)
    memory, carry = speaker.start(params, context)

    def one(state, t_and_true):
        t, true = t_and_true
        carry, word = state
        carry, hidden = speaker.step(params, memory, carry, word)
        key = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
        logits = speaker.logits(params, hidden)
        own = draw(key, logits)
        swap = jax.vmap(lambda k: jax.random.uniform(jax.random.fold_in(k, 1)))(key) < rate
        return (carry, jnp.where(swap, own, true)), word

    first = shift(captions)[:, 0]
    steps = (jnp.arange(captions.shape[1]), captions.T)
    return lax.stop_gradient(lax.scan(one, (carry, first), steps)[1].T).reshape(given)
