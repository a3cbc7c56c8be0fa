"""Captioners of several sentences: one LSTM plans them, another speaks each of its topic."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from capjax.models.attention import glance, weighed
from capjax.models.captioner import Captioner
from capjax.models.dense import dense
from capjax.models.generator import check_captioner, speaker_of
from capjax.models.recite import reciter
from capjax.models.recurrence import recurrence
from capjax.models.sentence_lstm import SentenceLSTM, blank_state, laid_out
from capjax.speaker import END, SENTENCE, Speaker
from capjax.teacher_forcing import where_rows

LOOKS = ("pool", "attend")


class Paragraphs(Captioner):
    """Hierarchical recurrent networks (Krause et al., 2017), with noise (Dai et al., 2017).

    The sentence LSTM is fed ReLU(W [image; noise] + b) at every sentence. Out of its state come a
    topic, by two layers that see the image, too, and how much there is to go on. The word LSTM
    begins each sentence at 0, with the topic added to every word that it is fed: added to the first
    alone, as Krause et al. do, the image was hardly heeded. Regions, ReLU(W v + b), are pooled by
    their maximum; where they are looked at, what the state asks for also goes into the topic.
    """

    sentences: int = 6
    look: str = "pool"
    noise_parts: int = 1
    hears: bool = False

    @property
    def regional(self) -> bool:  # type: ignore[override]
        return self.look == "attend" or self.image[0] == "regions"

    def setup(self):
        super().setup()
        self.gates = dense(4 * self.dim, self.dtype)
        self.project = dense(self.dim, self.dtype)
        self.plan = SentenceLSTM(self.dim, self.dtype)
        self.outline = dense(self.dim, self.dtype)
        # As large as words: an LSTM's state is small, and learning would start far more slowly.
        self.topic = dense(self.dim, self.dtype, scale=4.0)
        self.going = dense(1, self.dtype)
        if self.regional:
            self.value = dense(self.dim, self.dtype)
        if self.look == "attend":
            self.key = dense(self.dim, self.dtype)
            self.query = dense(self.dim, self.dtype, use_bias=False)
            self.weigh = self.param("weigh", nn.initializers.normal(0.05), (self.dim,))

    def see_all(self, context):
        """What the sentence LSTM is fed float[N, P, dim], by noise part, and what it looks at."""
        seen, regions = self.seen(context), {}
        if self.regional:
            values = nn.relu(self.value(seen))
            seen = values.max(1)
            if self.look == "attend":
                regions = {"values": values, "keys": self.key(values)}
        fed = seen[:, None]
        if self.noise:
            noise = context["noise"].astype(jnp.float32)
            noise = noise.reshape(noise.shape[0], self.noise_parts, -1)
            fed = jnp.repeat(fed, self.noise_parts, 1)
            fed = jnp.concatenate([fed, noise], -1)
        return {"fed": self.drop_image(context, nn.relu(self.project(fed)))} | regions

    def topics_of(self, seen, fed, hidden):
        """(topics float[N, S, dim], go float32[N, S]) of what sentences are fed and their states,
        both float[N, S, dim]."""
        about = jnp.concatenate([hidden, fed], -1)
        if self.look == "attend":
            scores = weighed(seen["keys"], self.query(hidden), self.weigh)
            looked = nn.softmax(scores).reshape(-1, scores.shape[-1])
            attended = glance(looked, seen["values"]).reshape(hidden.shape)
            about = jnp.concatenate([about, attended], -1)
        return self.topic(nn.relu(self.outline(about))), self.going(hidden)[..., 0]

    def begin(self, context, n):
        """The carry before a word."""
        return self.with_keys(context, self.blank(n) | {"sentence": jnp.zeros(n, jnp.int32)})

    def start(self, context):
        """With `hears`: topics are made as sentences begin."""
        memory = self.see_all(context)
        n = memory["fed"].shape[0]
        plan = {"plan": blank_state(n, self.dim), "go": jnp.zeros(n, jnp.float32)}
        plan["topic"] = jnp.zeros((n, self.dim), jnp.float32)
        return memory, self.begin(context, n) | plan

    def step(self, memory, carry, words):
        begins = (words == END) | (words == SENTENCE)
        sentence = carry["sentence"] + (words == SENTENCE).astype(jnp.int32)
        made = self.heard if self.hears else self.planned
        plan, topic, go = made(memory, carry, begins, sentence)
        state = {name: carry[name] for name in ("cell", "hidden")}
        state = where_rows(begins, jax.tree.map(jnp.zeros_like, state), state)
        carry = carry | plan | state | {"sentence": sentence}
        carry, out = self.advance(memory, carry, self.embed(words) + topic)
        return carry, jnp.concatenate([out, go[:, None]], -1)

    def planned(self, memory, carry, begins, sentence):
        """(what of the carry is new, topic, go) where topics are known."""
        at = jnp.minimum(sentence, self.sentences - 1)[:, None]
        topic = jnp.take_along_axis(memory["topics"], at[..., None], 1)[:, 0]
        return {}, topic, jnp.take_along_axis(memory["go"], at, 1)[:, 0]

    def heard(self, memory, carry, begins, sentence):
        """The same where the sentence LSTM takes in what was said, and moves on with it."""
        part = jnp.minimum(sentence, memory["fed"].shape[1] - 1)[:, None, None]
        fed = jnp.take_along_axis(memory["fed"], part, 1)[:, 0]
        plan = self.plan(carry["plan"], jnp.concatenate([fed, carry["hidden"]], -1))
        topics, go = self.topics_of(memory, fed[:, None], plan["hidden"][:, None])
        new = {"plan": plan, "topic": topics[:, 0], "go": go[:, 0]}
        new = where_rows(begins, new, {name: carry[name] for name in new})
        return new, new["topic"], new["go"]

    def logits(self, hidden):
        """Of the words; `go` is added to going on and taken from stopping."""
        ids = jnp.arange(self.vocab_size)
        sign = (ids == SENTENCE).astype(jnp.float32) - (ids == END).astype(jnp.float32)
        go = hidden[..., -1:]
        return self.words(hidden[..., :-1]) + go * sign.reshape((1,) * (go.ndim - 1) + ids.shape)

    def speak(self, context):
        memory, carry = self.start(context)
        words = jnp.full(carry["cell"].shape[:1], END)
        if not self.hears:
            plan = self.plan(carry["plan"], memory["fed"][:, 0])
            topics, go = self.topics_of(memory, memory["fed"][:, :1], plan["hidden"][:, None])
            topics, go = (jnp.repeat(x, self.sentences, 1) for x in (topics, go))
            memory = {"topics": topics, "go": go}
        return self.logits(self.step(memory, carry, words)[1])


def paragraph_generator(
    vocab_size: int,
    image: tuple,
    *,
    dim: int = 512,
    noise: int = 0,
    dropout: float = 0.5,
    sentences: int = 6,
    look: str = "pool",
    noise_parts: int = 1,
    hears: bool = False,
    input_dropout: float = 0.0,
    dtype: Any = jnp.float32,
    sight: str = "convnet",
) -> Speaker:
    """A captioner of several sentences to train, as a Speaker (Krause et al., 2017).

    A paragraph is a caption in which id 2, `capjax.SENTENCE`, ends a sentence; the last one is
    closed by the end alone, so that after a sentence the choice between 2 and 0 is to go on or to
    stop.

    Args:
      vocab_size, image, dim, input_dropout, dtype, sight: as in `generator`.
      noise: width Z of `context["noise"]` float[N, Z]; 0 for none.
      dropout: share of the word LSTM's hidden units dropped where the context has `dropout` keys.
      sentences: S, the topics that are planned; sentences past the last share it. With `hears`
        there is no last.
      look: at regions or pixels: "pool" takes the maximum over regions, or a network's output;
        "attend" also looks at regions, once a sentence, by the sentence LSTM's state.
      noise_parts: P, parts of the noise, of Z / P each; sentence s is fed part min(s, P - 1), so
        that noise is drawn anew for each sentence. 1: all sentences are fed all of it.
      hears: whether the sentence LSTM takes in the sentence just spoken, the word LSTM's last
        state. Topics then depend on words, and captions are read back a word at a time, slowly.
    Raises:
      ValueError: as `generator`, an unknown look, or parts that noise cannot be parted into.
    """
    check_captioner(vocab_size, image, dim, noise, 0, dropout, input_dropout, dtype, sight)
    if vocab_size <= SENTENCE or sentences < 1:
        raise ValueError(
            f"vocab_size={vocab_size} and sentences={sentences} must be above {SENTENCE} and 0"
        )
    _check_look(look, image, sight)
    _check_parts(noise, noise_parts, None if hears else sentences)
    module = Paragraphs(
        *(vocab_size, tuple(image), dim, 0, dropout, input_dropout, dtype, noise, sight),
        *(sentences, look, noise_parts, hears),
    )
    if hears:
        return speaker_of(module, partial(module.apply, method=module.start), None)
    return speaker_of(module, _planner(module), _reciter(module))


def _check_look(look: str, image: tuple, sight: str) -> None:
    if look not in LOOKS:
        raise ValueError(f"look {look!r} is unknown; choose one of {', '.join(LOOKS)}")
    if look == "attend" and image[0] == "features":
        raise ValueError(
            f"look 'attend' looks at regions, and image {image!r} has none; give it"
            ' ("regions", R, D) or ("pixels", H, W)'
        )
    if look == "attend" and sight == "eyes":
        raise ValueError("look 'attend' looks at regions, and sight 'eyes' tells of none")


def _check_parts(noise: int, parts: int, sentences: int | None) -> None:
    if parts < 1 or noise % parts or (parts > 1 and not noise):
        raise ValueError(
            f"noise_parts={parts} must be at least 1 and part noise={noise} into equal widths"
        )
    if sentences is not None and parts > sentences:
        raise ValueError(
            f"noise_parts={parts} are more than sentences={sentences}; no sentence is fed the last"
        )


def _planner(module: Paragraphs) -> Callable:
    """(params, context) -> (memory, carry), with the topics of all sentences."""
    recur = recurrence(SentenceLSTM(module.dim, module.dtype))

    def begin(params, context):
        seen: Any = module.apply(params, context, method=module.see_all)
        n, parts, _ = seen["fed"].shape
        part = jnp.minimum(jnp.arange(module.sentences), parts - 1)
        fed = seen["fed"][:, part]
        lengths = jnp.full(n, module.sentences, jnp.int32)
        plan = {"params": params["params"]["plan"]}
        out = recur(plan, {}, blank_state(n, module.dim), jnp.moveaxis(fed, 1, 0), lengths)
        hidden = jnp.moveaxis(out[..., : module.dim], 0, 1)
        topics, go = module.apply(params, seen, fed, hidden, method=module.topics_of)
        return {"topics": topics, "go": go}, module.begin(context, n)

    return begin


def _reciter(module: Paragraphs) -> Callable:
    """`Speaker.recite`: the words of all sentences in one recurrence."""
    say = reciter(module)

    def recite(params, memory, carry, words, lengths):
        each = words.shape[0] // carry["sentence"].shape[0]
        ends = words == SENTENCE
        sentence = jnp.repeat(carry["sentence"], each)[:, None] + jnp.cumsum(ends, 1)
        real = jnp.arange(words.shape[1])[None] < lengths[:, None]
        at = jnp.where(real, jnp.minimum(sentence, module.sentences - 1), -1)
        place = jax.nn.one_hot(at, module.sentences, dtype=jnp.float32)  # [N, T, S]
        known = jnp.concatenate([memory["topics"], memory["go"][..., None]], -1)
        place = place.reshape(known.shape[0], -1, module.sentences)
        beside = laid_out(place, known).reshape(*words.shape, -1)
        topic, go = beside[..., :-1], beside[..., -1:]
        embedded: Any = module.apply(params, words.T, method=module.embed)
        inputs = embedded + jnp.moveaxis(topic, 1, 0)
        begins = (words == END) | ends
        out = say(params, {}, carry, words, lengths, inputs, ~begins.T)
        return jnp.concatenate([out, go], -1)

    return recite
