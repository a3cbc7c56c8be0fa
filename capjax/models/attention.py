"""Captioners that look at regions of the image while they speak, at each word anew."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from capjax.models.captioner import Captioner
from capjax.models.dense import dense
from capjax.models.lstm import LSTM, lstm
from capjax.speaker import Context, Params, Speaker, scored, shift


class Looking(Captioner):
    """What both cells share: regions become values ReLU(W v + b), and those have keys W' value.

    How much a region is looked at is softmax_r w . tanh(key_r + query) (Xu et al., 2015). Noise,
    where there is any, is the first input, before the start and the words.
    """

    regional = True
    slots = 0  # to look at beside the regions

    def setup(self):
        super().setup()
        self.value = dense(self.dim, self.dtype)
        self.key = dense(self.dim, self.dtype)
        self.query = dense(self.dim, self.dtype, use_bias=False)
        self.weigh = self.param("weigh", nn.initializers.normal(0.05), (self.dim,))
        if self.noise:
            self.project = dense(self.dim, self.dtype)

    def start(self, context):
        values = self.drop_image(context, nn.relu(self.value(self.seen(context))))
        memory = {"values": values, "keys": self.key(values)} | self.more(context)
        n, regions, _ = values.shape
        carry = self.blank(n) | {"looked": jnp.zeros((n, regions + self.slots), jnp.float32)}
        if "noise" in context:
            first = nn.relu(self.project(context["noise"].astype(jnp.float32)))
            carry, _ = self.recur(memory, carry, first)
        return memory, self.with_keys(context, carry)

    def more(self, context):
        """What else stays as it is while a caption is spoken."""
        return self.beside(context)

    def scores(self, keys, query):
        """Before the softmax: keys [N / K, R, dim], query [N, dim] -> float32[N, R]."""
        each = query.reshape(keys.shape[0], -1, query.shape[-1])
        return weighed(keys, each, self.weigh).reshape(query.shape[0], -1)


class Att2in(Looking):
    """Attention into the cell's input, a maxout (Rennie et al., 2017, sec. 3.2)."""

    opens = ("gate", "forget", "gate", "sum", "sum")
    turns = ("query", "attended")

    def setup(self):
        super().setup()
        self.gates = dense(5 * self.dim, self.dtype)
        self.attended = dense(2 * self.dim, self.dtype)

    def turn(self, memory, state, gates):
        looked = nn.softmax(self.scores(memory["keys"], self.query(state["hidden"])))
        attended = self.attended(glance(looked, memory["values"]))
        enter, forget, show, *two = jnp.split(gates, 5, -1)
        new = jnp.maximum(*(a + b for a, b in zip(two, jnp.split(attended, 2, -1), strict=True)))
        cell = forget * state["cell"] + enter * new
        hidden = show * jnp.tanh(cell)
        return {"cell": cell, "hidden": hidden, "looked": looked}, hidden


class Adaptive(Looking):
    """Attention after the cell, which may look at no region (Lu et al., 2017, sec. 2).

    Beside the regions stands a sentinel, what the cell remembers; how much it is looked at is the
    last of the weights. The mean of the regions is fed beside every word.
    """

    slots = 1
    opens = (*LSTM, "gate")
    turns = ("sentinel", "told", "query", "key", "join")

    def setup(self):
        super().setup()
        self.whole = dense(self.dim, self.dtype)
        self.gates = dense(5 * self.dim, self.dtype)
        self.sentinel = dense(self.dim, self.dtype)
        self.told = dense(self.dim, self.dtype)
        self.join = dense(self.dim, self.dtype)

    def more(self, context):
        seen = self.seen(context).astype(jnp.float32).mean(1)
        return self.beside(context) | {"whole": nn.relu(self.whole(seen))}

    def embed(self, words):
        return nn.relu(self.table(words))

    def turn(self, memory, state, gates):
        gates, gate = jnp.split(gates, [4 * self.dim], -1)
        cell, hidden = lstm(gates, state["cell"])
        kept = gate * jnp.tanh(cell)
        sentinel = nn.relu(self.sentinel(kept))
        told = jnp.tanh(self.told(hidden))
        query = self.query(told)
        own = self.scores(self.key(sentinel)[:, None], query)
        looked = nn.softmax(jnp.concatenate([self.scores(memory["keys"], query), own], 1))
        attended = glance(looked[:, :-1], memory["values"])
        attended += looked[:, -1:] * sentinel
        out = jnp.tanh(self.join(attended + told))
        return {"cell": cell, "hidden": hidden, "looked": looked}, out


@jax.custom_vjp
def weighed(keys: jax.Array, query: jax.Array, weigh: jax.Array) -> jax.Array:
    """weigh . tanh(key + query): float[N, R, D], [N, K, D], [D] -> float32[N, K, R].

    On a CPU as a product with a vector, elsewhere as a sum: what is summed need not be in memory.
    """
    summed = lambda x, y: (x * y[None, None, None]).sum(-1)  # noqa: E731
    return lax.platform_dependent(_tanh(keys, query), weigh, cpu=jnp.matmul, default=summed)


def _weighed_backward(saved, d):
    keys, query, weigh = saved
    seen = _tanh(keys, query)
    inner = d[..., None] * weigh[None, None, None] * (1 - seen * seen)
    product = lambda d, x: d.reshape(-1) @ x.reshape(-1, weigh.size)  # noqa: E731
    summed = lambda d, x: (d[..., None] * x).sum((0, 1, 2))  # noqa: E731
    d_weigh = lax.platform_dependent(d, seen, cpu=product, default=summed).astype(weigh.dtype)
    return inner.sum(1).astype(keys.dtype), inner.sum(2).astype(query.dtype), d_weigh


weighed.defvjp(lambda *args: (weighed(*args), args), _weighed_backward)


def _tanh(keys, query):
    return jnp.tanh(keys[:, None] + query[:, :, None]).astype(jnp.float32)


def glance(looked, values):
    """The mean of values [N / K, R, D] by weights float32[N, R]: [N, D]."""
    each = looked.astype(values.dtype).reshape(values.shape[0], -1, values.shape[1])
    return jnp.einsum("nkr,nrd->nkd", each, values).reshape(looked.shape[0], -1)


def where_looked(
    speaker: Speaker, params: Params, context: Context, captions: jax.Array
) -> jax.Array:
    """How much each region was looked at for each word of captions and for their end.

    Args:
      captions: int32[N, T]; row i is read with row i of the context.
    Returns:
      float32[N, T, R], a sum of 1 a word; [N, T, R + 1] with cell "adaptive", the last the share
      that looked at nothing; 0 after the end.
    Raises:
      ValueError: the speaker looks at no regions.
    """
    memory, carry = speaker.start(params, context)
    if "looked" not in carry:
        raise ValueError("this speaker looks at no regions; take cell 'att2in' or 'adaptive'")

    def one(carry, words):
        carry, _ = speaker.step(params, memory, carry, words)
        return carry, carry["looked"]

    looked = jnp.moveaxis(lax.scan(one, carry, shift(captions).T)[1], 0, 1)
    return jnp.where(scored(captions)[..., None], looked, 0)
