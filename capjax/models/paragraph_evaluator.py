"""Evaluators of paragraphs: one LSTM embeds each sentence, another the sentences."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from capjax.judging import Evaluator
from capjax.models.evaluator import Matcher, evaluator_of, made
from capjax.models.recurrence import recurrence
from capjax.models.sentence_lstm import SentenceLSTM, blank_state, laid_out
from capjax.speaker import END, SENTENCE
from capjax.teacher_forcing import where_rows


class ParagraphMatcher(Matcher):
    """The evaluator of paragraphs of G-GAN (Dai et al., 2017): h(S) is the sentence LSTM's state.

    The word LSTM begins each sentence at 0; its state after the sentence's end is what the sentence
    LSTM is fed. In the last of so many sentences an end of one is a word like others.
    """

    sentences: int = 10

    def setup(self):
        super().setup()
        self.tale = SentenceLSTM(self.dim, self.dtype)

    def start(self, n):
        tale = {"tale": blank_state(n, self.dim), "count": jnp.zeros(n, jnp.int32)}
        return blank_state(n, self.dim) | tale | {"closed": jnp.ones(n, bool)}

    def read(self, carry, words):
        state = {name: carry[name] for name in ("cell", "hidden")}
        state = self.advance({}, state, self.embed(words))[0]
        ends = (words == END) | ((words == SENTENCE) & (carry["count"] < self.sentences - 1))
        tale = where_rows(ends, self.tale(carry["tale"], state["hidden"]), carry["tale"])
        state = where_rows(ends, jax.tree.map(jnp.zeros_like, state), state)
        return state | {
            "tale": tale,
            "count": carry["count"] + ends.astype(jnp.int32),
            "closed": ends,
        }

    def score(self, image, carry):
        """With a sentence under way as it is."""
        under_way = self.tale(carry["tale"], carry["hidden"])
        tale = where_rows(carry["closed"], carry["tale"], under_way)
        return self.match(image, tale["hidden"])


def paragraph_evaluator(
    vocab_size: int,
    image: tuple,
    *,
    dim: int = 512,
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    sight: str = "convnet",
    sentences: int = 10,
) -> Evaluator:
    """A judge of paragraphs to train: r(I, S) = sigmoid(<f(I), h(S)>) (Dai et al., 2017).

    It reads words one by one, as any evaluator; id 2, `capjax.SENTENCE`, ends a sentence. A score
    asked in the middle of a sentence is of the words so far.

    Args:
      vocab_size, image, dtype, sight: as in `generator`.
      dim: width of f, of word embeddings and of both LSTMs.
      dropout: share of the image's vector dropped where the context has `dropout` keys.
      sentences: S, the sentences told apart; what follows the S-th is read as part of it.
    Raises:
      ValueError: an unknown kind of image, dtype or sight, or a size that does not fit.
    """
    plain = made(ParagraphMatcher, vocab_size, image, dim, dropout, dtype, sight)
    if vocab_size <= SENTENCE or sentences < 1:
        raise ValueError(
            f"vocab_size={vocab_size} and sentences={sentences} must be above {SENTENCE} and 0"
        )
    module: Any = plain.clone(sentences=sentences)
    read = _reader(module, ends=False)

    def recite(params, words, lengths):
        start = module.apply(params, words.shape[0], method=module.start)
        return read(params, start, words, lengths)

    return evaluator_of(module)._replace(recite=recite, read_on=_reader(module, ends=True))


def _reader(module: ParagraphMatcher, ends: bool) -> Callable:
    """`Evaluator.read_on`: words of all sentences in one recurrence, then the sentences.

    ends: as in `recurrence`; those who read on from the middle have little left.
    """
    words_lstm = recurrence(module, ends)
    tale_lstm = recurrence(SentenceLSTM(module.dim, module.dtype), ends)

    def read_on(params, carry, words, lengths):
        real = jnp.arange(words.shape[1])[None] < lengths[:, None]
        breaks = real & (words == SENTENCE)
        known = carry["count"][:, None] + jnp.cumsum(breaks, 1) < module.sentences
        ends = (breaks & known) | (real & (words == END))
        keep = jnp.pad(~ends[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        inputs = module.apply(params, words.T, method=module.embed)
        hidden = jnp.moveaxis(words_lstm(params, {}, carry, inputs, lengths, keep.T), 0, 1)

        nth = jnp.cumsum(ends, 1)
        place = jax.nn.one_hot(nth - 1, module.sentences, axis=1, dtype=jnp.float32)  # [N, S, T]
        sentences = laid_out(jnp.where(ends[:, None], place, 0), hidden)
        params = {"params": params["params"]["tale"]}
        told = tale_lstm(params, {}, carry["tale"], jnp.moveaxis(sentences, 1, 0), nth[:, -1])
        told = jnp.moveaxis(told, 0, 1)
        tale = dict(zip(("hidden", "cell"), jnp.split(_last(told, nth[:, -1]), 2, -1), strict=True))
        return {
            "hidden": where_rows(lengths > 0, _last(hidden, lengths), carry["hidden"]),
            "tale": where_rows(nth[:, -1] > 0, tale, carry["tale"]),
            "closed": where_rows(lengths > 0, _last(ends, lengths), carry["closed"]),
        }

    return read_on


def _last(x: jax.Array, lengths: jax.Array) -> jax.Array:
    """The last of so many entries: [N, T, ...] -> [N, ...]."""
    at = jnp.maximum(lengths - 1, 0).reshape(-1, *(1,) * (x.ndim - 1))
    return jnp.take_along_axis(x, at, 1)[:, 0]
