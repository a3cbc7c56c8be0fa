"""Captions as a prefix tree: what many captions begin with is read once for all of them."""

from typing import NamedTuple

import numpy as np

from capjax.speaker import END


class Chunks(NamedTuple):
    """Prefixes in the order in which they are read: C chunks of R of one length each.

    States live in a buffer of 2 * width + 1 places: prefixes of even and of odd length in a half
    each, where every length takes the places of the one two words shorter, and the state before any
    word in the last. Edges are the scored words; every prefix has one or more.
    """

    slot: np.ndarray  # int32[C], the first place of the chunk's prefixes
    parent: np.ndarray  # int32[C, R], the place of the state before their last word
    word: np.ndarray  # int32[C, R], their last word, which is fed in
    edge: np.ndarray  # int32[C], the first of the edges that leave the chunk's prefixes
    source: np.ndarray  # int32[C, E], the prefix of the chunk that each of them leaves; -1: none
    scored: np.ndarray  # int32[C, E], and the word it stands for


class PrefixTree(NamedTuple):
    """The distinct beginnings of Q captions."""

    chunks: Chunks
    path: np.ndarray  # int32[Q, T], the edges of each caption; after its end, how many there are
    width: int  # half the places that states need
    edges: int  # distinct words scored after distinct beginnings
    prefixes: int  # distinct beginnings: the steps that reading all captions takes


def prefix_tree(captions: np.ndarray, rows: int) -> PrefixTree:
    """The prefix tree of captions int32[Q, T], in chunks of at most `rows` prefixes.

    A chunk never holds a prefix and its own beginning, so one pass over the chunks reads them all.
    """
    count, length = captions.shape
    span = int(captions.max()) + 1
    prefix = np.zeros(count, np.int64)  # of each caption at this length
    alive = np.ones(count, bool)
    path = np.full((count, length), -1)
    levels = []  # of each length: its prefixes' parents and last words, their edges' likewise
    parents, words = np.zeros(1, np.int64), np.full(1, END, np.int64)
    edges: int = 0
    for t in range(length):
        keys, edge = np.unique(prefix[alive] * span + captions[alive, t], return_inverse=True)
        source, scored = np.divmod(keys, span)
        levels.append((parents, words, source, scored))
        path[alive, t] = edges + edge
        edges += len(keys)
        goes_on = scored != END
        prefix[alive] = (np.cumsum(goes_on) - 1)[edge]
        alive[alive] = goes_on[edge]
        if not alive.any():
            break
        parents, words = source[goes_on], scored[goes_on]

    width = -(-max(len(words) for _, words, *_ in levels) // rows) * rows
    chunks = []
    edges = 0
    for t, (parents, words, source, scored) in enumerate(levels):
        before = (t - 1) % 2 * width if t else 2 * width
        for first in range(0, len(words), rows):
            mine = slice(first, first + rows)
            out = slice(*np.searchsorted(source, [first, first + rows]))
            chunks.append(
                (
                    t % 2 * width + first,
                    _filled(before + parents[mine], rows, 2 * width),
                    _filled(words[mine], rows, END),
                    edges + out.start,
                    source[out] - first,
                    scored[out],
                )
            )
        edges += len(source)
    slot, held, fed, leaves, sources, targets = zip(*chunks, strict=True)
    most = max(map(len, sources))
    return PrefixTree(
        Chunks(
            slot=np.array(slot, np.int32),
            parent=np.array(held, np.int32),
            word=np.array(fed, np.int32),
            edge=np.array(leaves, np.int32),
            source=np.array([_filled(x, most, -1) for x in sources], np.int32),
            scored=np.array([_filled(x, most, END) for x in targets], np.int32),
        ),
        path=np.where(path < 0, edges, path).astype(np.int32),
        width=width,
        edges=edges,
        prefixes=sum(len(words) for _, words, *_ in levels),
    )


def _filled(x: np.ndarray, size: int, value: int) -> np.ndarray:
    return np.concatenate([x, np.full(size - len(x), value)])
