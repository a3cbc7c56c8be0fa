"""Paragraphs with a sentence swapped in from another image's, or with one left out."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.objectives.altered import Altered, left_out, swapped

PARAGRAPHS = (
    [3, 4, 2, 5, 6, 7, 2, 8, 0, 0, 0, 0],
    [9, 2, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0],
    [12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23],  # cut: it has no end
    [0] * 12,
    [2, 24, 2, 2, 25, 0, 0, 0, 0, 0, 0, 0],  # with empty sentences
)


def parted(ids):
    """The sentences of a paragraph, as lists of words."""
    words = list(ids)
    words = words[: words.index(0)] if 0 in words else words
    sentences = [[]]
    for word in words:
        if word == 2:
            sentences.append([])
        else:
            sentences[-1].append(word)
    return sentences


def joined(sentences, length):
    words = sentences[0] + [word for sentence in sentences[1:] for word in (2, *sentence)]
    return tuple((words + [0] * length)[:length])


@pytest.mark.parametrize("mine", range(len(PARAGRAPHS)))
@pytest.mark.parametrize("other", range(len(PARAGRAPHS)))
def test_every_sentence_takes_the_place_of_every_one_as_often(mine, other):
    one, two = (jnp.array(PARAGRAPHS[i], jnp.int32) for i in (mine, other))
    keys = jax.random.split(jax.random.key(7), 1200)
    found = np.asarray(jax.jit(jax.vmap(swapped, (None, None, 0)))(one, two, keys))
    own, theirs = parted(PARAGRAPHS[mine]), parted(PARAGRAPHS[other])
    expected = Counter(
        joined([*own[:i], sentence, *own[i + 1 :]], len(one))
        for i in range(len(own))
        for sentence in theirs
    )
    counts, pairs = Counter(map(tuple, found.tolist())), len(own) * len(theirs)
    assert set(counts) == set(expected)
    for text, ways in expected.items():
        p = ways / pairs
        # Five standard deviations: wrongly red once in 10**6 counts.
        assert abs(counts[text] / len(keys) - p) <= 5 * (p * (1 - p) / len(keys)) ** 0.5 + 1e-9


@pytest.mark.parametrize("mine", range(len(PARAGRAPHS)))
def test_every_sentence_is_left_out_as_often(mine):
    one = jnp.array(PARAGRAPHS[mine], jnp.int32)
    keys = jax.random.split(jax.random.key(8), 1200)
    counts = Counter(map(tuple, np.asarray(jax.vmap(left_out, (None, 0))(one, keys)).tolist()))
    own = parted(PARAGRAPHS[mine])
    expected = Counter(joined(own[:i] + own[i + 1 :] or [[]], len(one)) for i in range(len(own)))
    assert set(counts) == set(expected)
    for text, ways in expected.items():
        p = ways / len(own)
        # Five standard deviations: wrongly red once in 10**6 counts.
        assert abs(counts[text] / len(keys) - p) <= 5 * (p * (1 - p) / len(keys)) ** 0.5 + 1e-9


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("name", Altered._fields)
def test_a_share_of_the_others_is_replaced(name, share):
    one, two = (jnp.tile(jnp.array(PARAGRAPHS[i], jnp.int32), (2000, 1)) for i in (0, 1))
    keys = jax.random.split(jax.random.key(3), 2000)
    found = np.asarray(Altered(**{name: share}).of(one, two, keys))
    replaced = (found != np.asarray(two)).any(1).mean()
    assert abs(replaced - share) <= 5 * (share * (1 - share) / 2000) ** 0.5


def test_of_a_single_sentence_none_is_left_out():
    one, two = (jnp.array([PARAGRAPHS[i]], jnp.int32) for i in (3, 0))
    found = Altered(left_out=1.0).of(one, two, jax.random.split(jax.random.key(0), 1))
    assert (found == two).all()


@pytest.mark.parametrize("shares", [(0.6, 0.5), (-0.1, 0.5), (0.5, -0.1)])
def test_shares_are_of_the_same_captions(shares):
    one, keys = jnp.array([PARAGRAPHS[0]]), jax.random.split(jax.random.key(0), 1)
    with pytest.raises(ValueError, match="must be at least 0 and, as shares of the same captions"):
        Altered(*shares).of(one, one, keys)
