"""What more can be measured of paragraphs as text? Their sentences, and what is said again."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from capjax.data.sentences import sentences
from capjax.metrics.ids import encode
from capjax.metrics.ngrams import ngram_table
from capjax.metrics.paragraphs import between_sentences

Said = list[tuple[str, ...]]  # sentences as their words joined by spaces, [N] paragraphs

SEVERAL = ("sentence_mbleu4", "sentence_self_cider")  # of paragraphs of two sentences or more
_ALONE = "no paragraph has two sentences"


def of_paragraphs(
    paragraphs: Sequence[Sequence[str]],
    references: Sequence[Sequence[str]],
    words: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Measures N images' paragraphs, S each.

    - `mean_sentences`: sentences a paragraph; those without words are none.
    - `repeated_trigrams`: the share of a paragraph's trigrams that came before in it, mean over
      paragraphs. A full stop is no word, so trigrams run on from one sentence into the next.
    - `sentence_mbleu4`, `sentence_self_cider`: how alike the sentences of a paragraph are
      (`between_sentences`), with the document frequencies of the references; mean over those of
      two sentences or more, None where there are none.
    - `distinct_sentences_per_1000`: different sentences a thousand sentences; with S > 1 the mean
      over the s-th paragraphs of all images.

    Args:
      paragraphs, references: texts of each image.
      words: of each of these texts and of each sentence of the paragraphs, joined by spaces.
    Returns:
      (the scores, their parts float[N, S] of each paragraph, NaN where it has none).
    """
    count, samples = len(paragraphs), len(paragraphs[0])
    flat = [text for texts in paragraphs for text in texts]
    said: Said = [tuple(w for s in sentences(text) if (w := words[s])) for text in flat]
    parts = {"repeated_trigrams": np.array([repeated(words[text].split()) for text in flat])}
    truth, known = encode([[words[text] for text in texts] for texts in references])
    between = between_sentences(jnp.asarray(_padded(said, known)), ngram_table(truth))
    parts |= {f"sentence_{name}": np.asarray(x, float) for name, x in between.items()}
    scores: dict[str, Any] = {"mean_sentences": float(np.mean([len(one) for one in said]))}
    for name, values in parts.items():
        there = values[~np.isnan(values)]
        scores[name] = float(there.mean()) if there.size else None
    different = [_different(said[s::samples]) for s in range(samples)]
    scores["distinct_sentences_per_1000"] = float(np.mean(different))
    if scores[SEVERAL[0]] is None:
        scores["unavailable"] = dict.fromkeys(SEVERAL, _ALONE)
    return scores, {name: values.reshape(count, samples) for name, values in parts.items()}


def repeated(words: Sequence[str]) -> float:
    """The share of a text's trigrams that came before in it; 0 of less than three words."""
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0


def _different(said: Said) -> float:
    every = [sentence for one in said for sentence in one]
    return 1000 * len(set(every)) / len(every) if every else 0.0


def _padded(said: Said, known: Mapping[str, int]) -> np.ndarray:
    """The sentences as ids [N, S, T], S and T rounded up, so that few programs are compiled."""
    longest = max([0, *(len(sentence.split()) for one in said for sentence in one)])
    ids, _ = encode(said, known, max_len=16 * (1 + longest // 16))
    most = max(8, 1 << (ids.shape[1] - 1).bit_length())
    return np.pad(ids, ((0, 0), (0, most - ids.shape[1]), (0, 0)), constant_values=-1)
