"""What are captions worth as text? Measures of anyone's captions against people's."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from capjax.data.contents import digest, of_texts
from capjax.data.sentences import sentences
from capjax.evaluation.paragraph_measures import of_paragraphs
from capjax.metrics.diversity import consensus, diversity
from capjax.metrics.ids import encode
from capjax.metrics.ngrams import ngram_table
from capjax.metrics.official import QUICK, Scores, score_each
from capjax.metrics.protocol import ALL, HELD_OUT, Protocol, hold_out, how_many, score_protocols

Texts = Mapping[Any, Sequence[str]]  # {id: texts}


class Evaluation(NamedTuple):
    """What was measured of the captions of N images, S each."""

    scores: dict[str, Any]  # name -> number, and beside them what the numbers are of
    rows: list[dict[str, Any]]  # an image each: id, its caption or captions, references, scores


def measure(
    captions: Texts,
    references: Texts,
    *,
    metrics: Collection[str] = QUICK,
    held_out: bool = False,
    known: Collection[str] | None = None,
    df_source: str = "these references",
    paragraphs: bool = False,
) -> Evaluation:
    """Measures captions against references: quality, and how different the captions are.

    Of several captions an image, quality is the mean over them; then there are also what the best
    of them by its CIDEr-D reaches (`oracle_cider_d@S`), what the one closest to the others reaches
    (`consensus_cider_d@S`), and all of `metrics.diversity` with these references' document
    frequencies.

    Args:
      captions: {id: [caption, ...]}, as many of every image.
      references: {id: [reference, ...]} of the same ids.
      metrics: of `score_captions`.
      held_out: whether to score also by the n-1 protocol, and the held-out captions by it: under
        "n-1" and "n-1 human", where every image has two references.
      known: captions trained on: measures `novel`, the share of captions that are none of them.
      df_source: as in `score_captions`.
      paragraphs: whether captions are paragraphs, of which `of_paragraphs` tells more.
    Returns:
      Evaluation; scores that do not apply are absent, those that could not be taken None. Beside
      them "digests" tell what was scored: scores of other references, other held-out captions or
      other known captions have others, wherever and in whatever order these lie. Under "notes" is
      said where the tokenizer does not suit the language.
    Raises:
      InputError: as `score_captions`.
    """
    options: dict[str, Any] = {"metrics": metrics, "df_source": df_source}
    spoken = [text for texts in captions.values() for text in texts] if paragraphs else []
    options["beside"] = [*(known or ()), *(part for text in spoken for part in sentences(text))]
    single = [i for i, texts in references.items() if len(texts) < 2]
    if held_out and not single:
        first, *others = score_protocols(captions, references, **options)
    else:
        every = score_each(captions, references, **options)
        first, others = Protocol(ALL, f"all {how_many(references)}", every), []
    official = first.scores
    rows = _rows(captions, references, official)
    scores: dict[str, Any] = {name: official.total.get(name) for name in official.names}
    if official.n_samples > 1:
        scores |= _of_several(captions, references, official, rows)
    scores |= _words([captions[i] for i in official.ids], known, official.words)
    about = official.result()
    if paragraphs:
        found = _of_paragraphs(captions, references, official, rows)
        about["unavailable"] = about["unavailable"] | found.pop("unavailable", {})
        scores |= found
    scores |= {other.name: _without_notes(other.result()) for other in others}
    scores |= {"references": first.references}
    scores |= {"digests": _digests(references, known, held_out=bool(others))}
    names = ("n_images", "n_samples", "n_wordless", "tokenizer", "df", "versions", "unavailable")
    scores |= {name: about[name] for name in (*names, "notes") if name in about}
    if held_out and single:
        why = (
            f"image {single[0]} has one reference ({len(single)} images like it), none to hold out"
        )
        scores["unavailable"] = scores["unavailable"] | {HELD_OUT: why}
    return Evaluation(scores, rows)


def _rows(captions: Texts, references: Texts, official: Scores) -> list[dict[str, Any]]:
    """An image each: its id, its caption or captions, its references, its scores."""
    several = official.n_samples > 1
    return [
        {"id": i, **({"captions": list(captions[i])} if several else {"caption": captions[i][0]})}
        | {"references": list(references[i])}
        | {name: values[n].tolist() for name, values in official.each.items()}
        for n, i in enumerate(official.ids)
    ]


def _digests(references: Texts, known: Collection[str] | None, *, held_out: bool) -> dict[str, str]:
    """What was scored, whatever its order."""
    digests = {"references": of_texts(references)}
    if held_out:
        digests["held_out"] = of_texts(hold_out(references)[0])
    if known is not None:
        digests["known"] = digest(sorted({text.strip() for text in known}))
    return digests


def _of_several(
    captions: Texts, references: Texts, official: Scores, rows: list[dict[str, Any]]
) -> dict[str, float]:
    """What only several captions an image have; their images' share goes into the rows."""
    ids, words, each = official.ids, official.words, official.each
    truth, known = encode([[words[text] for text in references[i]] for i in ids])
    said = jnp.asarray(encode([[words[text] for text in captions[i]] for i in ids], known)[0])
    table = ngram_table(truth)
    found = diversity(said, table)
    scores: dict[str, float] = found.pop("total")
    for name, values in found.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = float(value)
    samples = said.shape[1]
    if "cider_d" in each:
        chosen = np.asarray(consensus(said, table))
        best = each["cider_d"].max(1)
        agreed = each["cider_d"][np.arange(len(ids)), chosen]
        scores[f"oracle_cider_d@{samples}"] = float(best.mean())
        scores[f"consensus_cider_d@{samples}"] = float(agreed.mean())
    return scores


def _of_paragraphs(
    captions: Texts, references: Texts, official: Scores, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """`of_paragraphs`, of which each paragraph's share goes into the rows."""
    ids = official.ids
    said, truth = ([texts[i] for i in ids] for texts in (captions, references))
    scores, parts = of_paragraphs(said, truth, official.words)
    for name, values in parts.items():
        for row, several in zip(rows, values.tolist(), strict=True):
            several = [None if value != value else value for value in several]  # NaN
            row[name] = several if official.n_samples > 1 else several[0]
    return scores


def _words(
    captions: Sequence[Sequence[str]], known: Collection[str] | None, words: Mapping[str, str]
) -> dict[str, Any]:
    """What is said in all: by one caption an image, a mean over them where there are several.

    words: of each text, those that the scores have counted.
    """
    split = [[tuple(words[text].split()) for text in texts] for texts in captions]
    lists = list(zip(*split, strict=True))
    scores: dict[str, Any] = {
        "distinct_words": _mean([len({word for said in one for word in said}) for one in lists]),
        "distinct_captions": _mean([len(set(one)) for one in lists]),
        "mean_length": float(np.mean([len(said) for one in lists for said in one])),
    }
    if known is not None:
        old = {tuple(words[text].split()) for text in known}
        scores["novel"] = float(np.mean([said not in old for one in lists for said in one]))
    return scores


def _without_notes(result: dict[str, Any]) -> dict[str, Any]:
    """Of a protocol beside the first, which has told them."""
    return {name: value for name, value in result.items() if name != "notes"}


def _mean(numbers: Sequence[int]) -> float | int:
    """A count stays one."""
    return numbers[0] if len(numbers) == 1 else float(np.mean(numbers))
