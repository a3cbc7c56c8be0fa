"""BLEU, ROUGE-L and CIDEr-D of captions that have been split: what needs no Java.

Lists of captions are scored against the same references, which are counted once for all lists.
Each list is scored on its own: the document frequencies are those of N images, however many lists.
BLEU is pycocoevalcap's code. What is written anew equals it to 1e-12 (tests/metrics).
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

# As in pycocoevalcap:
_BETA = 1.2  # how much more recall counts in ROUGE-L
_SIGMA = 6.0  # of CIDEr-D's Gaussian, in bigrams

Spoken = Sequence[Sequence[str]]  # lists [S] of captions [N], each its words joined by spaces
Truth = Sequence[Sequence[str]]  # the references [N] of each image
Scored = tuple[dict[str, float], dict[str, np.ndarray]]  # totals, and float64 [N] of each image


def bleu_scores(spoken: Spoken, truth: Truth) -> list[Scored]:
    """BLEU-1..4 by pycocoevalcap, with the closest reference's length. Totals are of all counts."""
    from pycocoevalcap.bleu.bleu_scorer import BleuScorer

    scorer = BleuScorer(n=4)
    for references in truth:
        scorer.cook_append(None, references)
    results = []
    for captions in spoken:
        whole, rows = scorer.retest(list(captions)).compute_score(option="closest", verbose=0)
        total = {f"bleu_{n + 1}": float(whole[n]) for n in range(4)}
        results.append((total, {f"bleu_{n + 1}": np.array(rows[n]) for n in range(4)}))
    return results


def cider_d_scores(spoken: Spoken, truth: Truth) -> list[Scored]:
    """CIDEr-D (Vedantam et al., 2015) with the document frequencies of `truth`. Totals are means.

    The n-grams are counted by pycocoevalcap. It would weigh those of all references again for each
    list, in numpy, a number at a time; here an image's references are weighed once for all lists.
    """
    # Imported here: its module takes pdb along, which a training process has no use for.
    from pycocoevalcap.cider.cider_scorer import CiderScorer, cook_test

    scorer = CiderScorer()
    for references in truth:
        scorer.cook_append(None, references)
    scorer.compute_doc_freq()
    weigh = partial(_weigh, dict(scorer.document_frequency), math.log(len(truth)))
    each = np.empty((len(spoken), len(truth)))  # [S, N]
    for n, counted in enumerate(scorer.crefs):
        weighed = [weigh(counts) for counts in counted]
        for s, captions in enumerate(spoken):
            caption = weigh(cook_test(captions[n]))
            alike = sum(_alike(caption, reference) for reference in weighed)
            each[s, n] = 10 * alike / len(weighed)
    return [({"cider_d": float(row.mean())}, {"cider_d": row}) for row in each]


class _Weighed(NamedTuple):
    """The n-grams of a caption, by how telling they are."""

    weights: dict[tuple[str, ...], float]  # count times inverse document frequency
    norms: list[float]  # [4], of the weights of each order
    length: int  # in bigrams


def _weigh(frequency: Mapping[Any, float], most: float, counts: Mapping[Any, int]) -> _Weighed:
    """most: the logarithm of the number of images."""
    weights = {}
    squares = [0.0] * 4
    length = 0
    for gram, count in counts.items():
        weight = count * (most - math.log(max(1.0, frequency.get(gram, 1.0))))
        weights[gram] = weight
        squares[len(gram) - 1] += weight * weight
        if len(gram) == 2:
            length += count
    return _Weighed(weights, [math.sqrt(square) for square in squares], length)


def _alike(caption: _Weighed, reference: _Weighed) -> float:
    """The mean over the four orders of the cosine, clipped and less for another length."""
    dots = [0.0] * 4
    for gram, weight in caption.weights.items():
        other = reference.weights.get(gram)
        if other:
            dots[len(gram) - 1] += min(weight, other) * other
    cosines = (
        dot / (one * other)
        for dot, one, other in zip(dots, caption.norms, reference.norms, strict=True)
        if dot
    )
    apart = caption.length - reference.length
    return sum(cosines) / 4 * math.exp(-(apart**2) / (2 * _SIGMA**2))


def rouge_l_scores(spoken: Spoken, truth: Truth) -> list[Scored]:
    """ROUGE-L as pycocoevalcap defines it. The total is the mean.

    Written anew: pycocoevalcap fills a table of len(caption) * len(reference), which is slow for
    captions and impossible for a long text.
    """
    results = []
    for captions in spoken:
        each = np.array([_rouge_l(*pair) for pair in zip(captions, truth, strict=True)], np.float64)
        results.append(({"rouge_l": float(each.mean())}, {"rouge_l": each}))
    return results


def _rouge_l(caption: str, references: Sequence[str]) -> float:
    words = caption.split(" ")  # a caption without words is one empty word, as in pycocoevalcap
    precision = recall = 0.0
    for reference in references:
        others = reference.split(" ")
        common = _common(words, others)
        precision = max(precision, common / len(words))
        recall = max(recall, common / len(others))
    if not precision:
        return 0.0
    return (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, a row of the table at a time as bits."""
    if len(one) > len(other):
        one, other = other, one
    places: dict[str, int] = {}
    for n, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << n
    full = (1 << len(one)) - 1
    row = full  # bit n is off where one[:n + 1] has more in common than one[:n] (Hyyrö, 2004)
    for word in other:
        if word in places:
            match = row & places[word]
            row = (row + match | row - match) & full
    return len(one) - row.bit_count()
