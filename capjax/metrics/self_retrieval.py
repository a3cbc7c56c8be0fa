"""How well do captions tell their images apart, by a speaker's own likelihood? (Dai & Lin, 2017)"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from capjax.agreement import check_captions, check_context
from capjax.metrics.prefix_tree import Chunks, prefix_tree
from capjax.speaker import Context, Params, Speaker, vocabulary_size
from capjax.terminal.progress import Progress

# Prefixes read at once, and images that they are read with: their product is a matmul's rows. A CPU
# takes so many of the images at a time.
PREFIXES, IMAGES, ON_CPU = 16, 64, 16


def pairwise_log_probs(
    speaker: Speaker,
    params: Params,
    context: Mapping[str, Any],
    captions: Any,
    *,
    progress: bool = False,
    over: Callable[..., Iterable] = map,
) -> np.ndarray:
    """log p(caption | image) of every caption with every image: the scores of self-retrieval.

    The same as `log_probs(...).sum(-1)` on all pairs, in far fewer steps: an image is taken in once
    for all captions, and what captions begin with alike is read once an image.

    Args:
      context: of J images, leaves [J, ...].
      captions: int32[Q, T].
      progress: whether to show a bar.
      over: what maps the work over images: several processes share it by `parallel.shared_out`.
    Returns:
      float32[Q, J] in nats, on the host: Q and J may be thousands.
    Raises:
      ValueError: leaves of the context that do not agree (`capjax.agreement`), or an id that is not
        the speaker's.
    """
    images = check_context(context)
    single = jax.tree.map(lambda x: x[:1], context)
    check_captions(captions, "QT", size=vocabulary_size(speaker, params, single))
    captions = np.asarray(captions)
    block = -(-images // -(-images // IMAGES))  # as many in each, so that few fill up the last
    few = min(ON_CPU, block)
    block += -block % few
    tree = prefix_tree(captions, PREFIXES)
    size = tree.width, tree.edges, few
    arrays = jax.device_put((tree.chunks, tree.path))

    def one(first: int) -> np.ndarray:
        # The last block is filled up with its last image, so that one program serves all.
        rows = np.minimum(np.arange(first, first + block), images - 1)
        part = jax.tree.map(lambda x: x[rows], dict(context))
        return np.asarray(_read(speaker, size, params, part, *arrays))

    scores = np.empty((len(captions), images), np.float32)
    firsts = range(0, images, block)
    with Progress(images, "self-retrieval", "images", shown=progress) as bar:
        for first, read in zip(firsts, over(one, firsts), strict=True):
            scores[:, first : first + block] = read[:, : images - first]
            bar.update(min(block, images - first))
    return scores


@partial(jax.jit, static_argnums=(0, 1))
def _read(
    speaker: Speaker,
    size: tuple[int, int, int],
    params: Params,
    context: Context,
    tree: Chunks,
    path: jax.Array,
) -> jax.Array:
    """log p of all captions of a tree with B images: float32[Q, B].

    size: the tree's width, its edges, and how many of the images a CPU takes at a time.
    """
    *of_tree, few = size
    read = partial(_read_together, speaker, of_tree, params, tree, path)

    def few_at_a_time(context: Context) -> jax.Array:
        parts = jax.tree.map(lambda x: x.reshape(-1, few, *x.shape[1:]), context)
        return jnp.moveaxis(lax.map(read, parts), 0, 1).reshape(len(path), -1)  # [Q, B]

    return lax.platform_dependent(context, cpu=few_at_a_time, default=read)


def _read_together(
    speaker: Speaker,
    size: list[int],
    params: Params,
    tree: Chunks,
    path: jax.Array,
    context: Context,
) -> jax.Array:
    width, edges = size
    memory, carry = speaker.start(params, context)
    images = jax.tree.leaves(carry)[0].shape[0]

    def room(x: jax.Array) -> jax.Array:
        held = jnp.broadcast_to(x[:1, None], (2 * width + 1, *x.shape))
        return lax.dynamic_update_index_in_dim(held, x, 2 * width, 0)

    def speak(carry: Any, word: jax.Array) -> tuple[Any, jax.Array]:
        return speaker.step(params, memory, carry, jnp.broadcast_to(word, (images,)))

    def chunk(c: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        held, scored = state
        before = jax.tree.map(lambda x: x[tree.parent[c]], held)
        carry, hidden = jax.vmap(speak)(before, tree.word[c])
        logits = speaker.logits(params, hidden).astype(jnp.float32)  # [R, B, V]
        total = jax.nn.logsumexp(logits, -1)
        source = jnp.maximum(tree.source[c], 0)
        chosen = logits[source, :, tree.scored[c]] - total[source]
        chosen = jnp.where(tree.source[c][:, None] < 0, 0, chosen)
        scored = lax.dynamic_update_slice_in_dim(scored, chosen, tree.edge[c], 0)
        put = partial(lax.dynamic_update_slice_in_dim, start_index=tree.slot[c], axis=0)
        return jax.tree.map(lambda x, new: put(x, new), held, carry), scored

    blank = jnp.zeros((edges + tree.source.shape[1], images))
    _, scored = lax.fori_loop(0, tree.slot.size, chunk, (jax.tree.map(room, carry), blank))
    return scored[path].sum(1)
