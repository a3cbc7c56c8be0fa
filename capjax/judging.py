"""The contract of what judges captions: an evaluator reads word by word, beside the image."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import agree, check_captions, check_choices, check_context
from capjax.speaker import Carry, Context, Params, Speaker, scored, vocabulary_size
from capjax.teacher_forcing import where_rows


class Evaluator(NamedTuple):
    """A judge of captions: r(I, S) = sigmoid(<f(I), h(S)>) (Dai et al., 2017). Leaves lead with N.

    It reads the words of a caption and then, where there is room, the end; not the start. A score
    may be asked after any word, so that it can read along with a speaker.
    """

    init: Callable[[jax.Array], Params]  # (key) -> params
    image: Callable[[Params, Context], jax.Array]  # -> what the image says: float[N, D]
    start: Callable[[Params, int], Carry]  # (params, n) -> carry before the first word
    read: Callable[[Params, Carry, jax.Array], Carry]  # (params, carry, words int32[N]) -> carry
    score: Callable[[Params, jax.Array, Carry], jax.Array]
    # (params, image, carry) -> logits float[N], before the logistic
    recite: Callable[[Params, jax.Array, jax.Array], Carry] | None = None
    # optional, for speed: (params, words int32[N, T], lengths int32[N]) -> carry, after `lengths`
    # words of each row, good for `score`
    vocab_size: int | None = None  # optional: lets ids that it does not know be refused
    read_on: Callable[[Params, Carry, jax.Array, jax.Array], Carry] | None = None
    # optional, for speed: (params, carry, words int32[N, T], lengths int32[N]) -> carry, after
    # `lengths` more words of each row, good for `score`


def check_vocabulary(
    speaker: Speaker, params: Params, context: Context, evaluator: Evaluator
) -> None:
    """Raises ValueError where a speaker and who reads what it says do not know the same ids."""
    if evaluator.vocab_size is None:
        return
    size = vocabulary_size(speaker, params, context)
    if size not in (None, evaluator.vocab_size):
        raise ValueError(
            f"the speaker knows {size} ids and who judges it {evaluator.vocab_size}; give two that"
            " share a vocabulary"
        )


def judge(evaluator: Evaluator, params: Params, context: Context, captions: jax.Array) -> jax.Array:
    """The evaluator's score of each caption with its image, before the logistic.

    Args:
      captions: int32[N, T]; row i is judged with row i of the context.
    Returns:
      float32[N]; r is its logistic.
    Raises:
      ValueError: captions and context do not agree (`capjax.agreement`), or an id is not the
        evaluator's.
    """
    check_context(context)
    check_captions(captions, size=evaluator.vocab_size)
    agree(context=context, captions=captions)
    return score_read(evaluator, params, evaluator.image(params, context), captions)


def score_read(
    evaluator: Evaluator, params: Params, image: jax.Array, captions: jax.Array
) -> jax.Array:
    """`judge` with images that were looked at before.

    Args:
      image: float[N, D], of the evaluator's `image`.
      captions: int32[N, T].
    Returns:
      float32[N], as `judge`.
    Raises:
      ValueError: as `judge`.
    """
    agree(image=image, captions=captions)
    scores = evaluator.score(params, image, read_all(evaluator, params, captions))
    if scores.shape != captions.shape[:1]:
        raise ValueError(
            f"the evaluator's score is {list(scores.shape)} for captions {list(captions.shape)}; it"
            " must be one number for each"
        )
    return scores.astype(jnp.float32)


def read_all(evaluator: Evaluator, params: Params, captions: jax.Array) -> Carry:
    """The evaluator's carry after reading whole captions int32[N, T], their end included.

    Raises ValueError for other captions.
    """
    check_captions(captions, size=evaluator.vocab_size)
    real = scored(captions)
    if evaluator.recite:
        return evaluator.recite(params, captions, real.sum(-1))

    def one(carry, column):
        word, live = column
        new = evaluator.read(params, carry, word)
        return where_rows(live, new, carry), None

    start = evaluator.start(params, captions.shape[0])
    return lax.scan(one, start, (captions.T, real.T))[0]


def score_all(
    evaluator: Evaluator, params: Params, images: jax.Array, carry: Carry, together: int = 0
) -> jax.Array:
    """Scores of N captions that were read with each of J images: float[J, D] -> float32[N, J].

    together: images that are scored at once, to save memory; 0 for all.
    """
    n = jax.tree.leaves(carry)[0].shape[0]

    def with_all(image: jax.Array) -> jax.Array:
        repeated = jnp.broadcast_to(image[None], (n, *image.shape))
        return evaluator.score(params, repeated, carry).astype(jnp.float32)

    if together:
        return lax.map(with_all, images, batch_size=together).T
    return jax.vmap(with_all, out_axes=1)(images)


def listen(
    listener: Evaluator, params: Params, contexts: Context, captions: jax.Array
) -> jax.Array:
    """How probable a listener holds each of C images to be the one that a caption is of.

    The listener of Andreas & Klein (2016): a softmax over its scores of the images.

    Args:
      contexts: leaves [N, C, ...].
      captions: int32[N, T].
    Returns:
      float32[N, C], log-probabilities.
    Raises:
      ValueError: captions and contexts do not agree, or an id is not the listener's.
    """
    check_context(contexts, "contexts")
    check_captions(captions, size=listener.vocab_size)
    agree(contexts=contexts, captions=captions)
    check_choices(contexts, "contexts")
    rows, count = jax.tree.leaves(contexts)[0].shape[:2]
    flat = jax.tree.map(lambda x: x.reshape(rows * count, *x.shape[2:]), contexts)
    looks = listener.image(params, flat).reshape(rows, count, -1)
    carry = read_all(listener, params, captions)
    scores = jax.vmap(lambda look: listener.score(params, look, carry), 1, 1)(looks)
    return jax.nn.log_softmax(scores.astype(jnp.float32), 1)
