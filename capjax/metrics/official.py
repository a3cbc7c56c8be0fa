"""The benchmarks' own scores of captions as text: BLEU, METEOR, ROUGE-L, CIDEr-D and SPICE.

What pycocoevalcap computes, without its traps: a caption cannot shift the next one's score, nothing
hangs, is downloaded or written beside the library, and what cannot be computed says why. The words
are split by the benchmarks' Java program where there is a `java`, and else by capjax's own
tokenizer, which agrees with it on all but a few in 100,000 captions; the result says which it was.
"""

import importlib.metadata
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from capjax.data.word_notes import word_notes
from capjax.metrics.check_captions import METRICS, Captions, check_captions, check_metrics
from capjax.metrics.java import PATIENCE, Java, JavaError, find_java
from capjax.metrics.meteor import LONGEST, Pair, meteor_scores
from capjax.metrics.ptb import JAVA, PYTHON, Words, split_texts
from capjax.metrics.spice import spice_scores
from capjax.metrics.word_scores import bleu_scores, cider_d_scores, rouge_l_scores

__all__ = ["JAVA", "METRICS", "PYTHON", "QUICK", "Scores", "score_captions", "score_each"]

QUICK = ("bleu", "rouge_l", "cider_d")  # in seconds, without METEOR's and SPICE's Java


class Scores(NamedTuple):
    """What was measured, in all and of each image."""

    ids: tuple[Hashable, ...]  # [N], in the order of the candidates
    total: dict[str, float]  # "bleu_1" ... "bleu_4", "meteor", "rouge_l", "cider_d", "spice"
    each: dict[str, np.ndarray]  # the same names -> float64 [N], [N, S] of S > 1 samples an image
    tokenizer: str  # JAVA or PYTHON
    unavailable: dict[str, str]  # a metric that was asked for -> why it is not there
    names: tuple[str, ...]  # of all that was asked for, there or not
    n_samples: int  # S
    n_wordless: int  # candidates, of all N * S, that have no words
    df: dict[str, Any]  # whose document frequencies CIDEr-D has: {"source": which, "n": N}
    versions: dict[str, str | None]  # of capjax, pycocoevalcap and java
    words: dict[str, str]  # each text that was scored or held against, and beside -> its words
    notes: tuple[str, ...] = ()  # where the tokenizer does not suit the language; sentences

    def result(self) -> dict[str, Any]:
        """As `score_captions` returns it: flat, None for what is unavailable."""
        return {
            **{name: self.total.get(name) for name in self.names},
            "n_images": len(self.ids),
            "n_samples": self.n_samples,
            "n_wordless": self.n_wordless,
            "tokenizer": self.tokenizer,
            "df": self.df,
            "versions": self.versions,
            "unavailable": self.unavailable,
            **({"notes": list(self.notes)} if self.notes else {}),
        }


def score_captions(
    candidates: Captions,
    references: Captions,
    *,
    metrics: Collection[str] | None = None,
    df_source: str = "these references",
    memory: str = "2G",
    patience: float = PATIENCE,
) -> dict[str, Any]:
    """The official scores of captions against their images' references (pycocoevalcap).

    CIDEr-D weighs n-grams by how many of these images' references hold them, so it depends on which
    images are scored together, and cannot be computed for one image. Several candidates an image
    are samples: the first of each image are scored together, then the second, and so on, which
    changes no document frequency, and totals are means over the samples.

    Args:
      candidates: {id: [caption, ...]}, as many of every image.
      references: {id: [reference, ...]} of the same ids.
      metrics: any of METRICS; by default all. METEOR takes 1.5 GB, 15 to 30 s, and about 2 s more
        for each 1,000 captions; SPICE far longer. QUICK are the others.
      df_source: what to call the references in "df", where they are part of a larger set.
      memory: the most that METEOR's Java may take.
      patience: seconds without an answer after which a Java program is taken to hang and ended.
    Returns:
      {"bleu_1": float, ..., "bleu_4", "meteor", "rouge_l", "cider_d", "spice", "n_images": N,
      "n_samples": S, "n_wordless": candidates without words, "tokenizer": which, "df": {"source",
      "n"}, "versions": of capjax, pycocoevalcap and java, "unavailable": {what: the reason and the
      mend}}; where the tokenizer does not suit the language, "notes": [sentence, ...]}. What is
      unavailable is None. CIDEr-D is 0 to 10, the others are 0 to 1.
    Raises:
      InputError: the ids differ, an id has no candidate, no reference, or not as many candidates as
        another, or a metric is unknown.
    """
    return score_each(
        candidates,
        references,
        metrics=METRICS if metrics is None else metrics,
        df_source=df_source,
        memory=memory,
        patience=patience,
    ).result()


def score_each(candidates: Captions, references: Captions, **options: Any) -> Scores:
    """What `score_captions` gives, and the scores of each image; by default only those of QUICK.

    Args:
      candidates, references: as of `score_captions`, and so are the options.
    Returns:
      Scores of the N images.
    Raises:
      InputError: as `score_captions`.
    """
    return score_all([(candidates, references)], **options)[0]


def score_all(
    jobs: Sequence[tuple[Captions, Captions]],
    *,
    metrics: Collection[str] | None = None,
    beside: Iterable[str] = (),
    df_source: str = "these references",
    memory: str = "2G",
    patience: float = PATIENCE,
) -> list[Scores]:
    """What `score_each` gives of several (candidates, references), with one start of each program.

    Args:
      jobs: each as of `score_captions`.
      metrics, df_source, memory, patience: as of `score_captions`; by default QUICK.
      beside: other texts whose words are wanted, split in the same run.
    """
    wanted = check_metrics(QUICK if metrics is None else metrics)
    for candidates, references in jobs:
        check_captions(candidates, references)
    try:
        java: Java | JavaError = find_java(min(patience, PATIENCE / 5))
    except JavaError as error:
        java = error
    texts = (text for job in jobs for captions in job for one in captions.values() for text in one)
    words = split_texts(chain(texts, beside), java, patience=patience)
    split = [_split(candidates, references, words) for candidates, references in jobs]
    measured = [_quick(one, wanted) for one in split]
    for name, score in (
        ("meteor", partial(meteor_scores, memory=memory, patience=patience)),
        ("spice", partial(spice_scores, patience=patience)),
    ):
        if name in wanted:
            run = partial(score, java=java) if isinstance(java, Java) else java
            _add(name, run, split, measured)
    versions = {name: _version(name) for name in ("capjax", "pycocoevalcap")}
    versions["java"] = java.version if isinstance(java, Java) else None
    return [
        Scores(
            ids=one.ids,
            total={name: float(np.mean(values)) for name, values in totals.items()},
            each={
                name: values[0] if len(values) == 1 else np.stack(values, 1)
                for name, values in each.items()
            },
            tokenizer=words.tokenizer,
            unavailable=why | ({JAVA: words.why_not_java} if words.why_not_java else {}),
            names=tuple(name for metric in wanted for name in _names(metric)),
            n_samples=len(one.spoken),
            n_wordless=sum(not caption.split() for sample in one.spoken for caption in sample),
            df={"source": df_source, "n": len(one.ids)},
            versions=versions,
            words=words.of,
            notes=_notes(candidates, references, words),
        )
        for (candidates, references), one, (totals, each, why) in zip(
            jobs, split, measured, strict=True
        )
    ]


class _Split(NamedTuple):
    """A job, its captions split into words."""

    ids: tuple[Hashable, ...]
    spoken: list[list[str]]  # [S][N]
    truth: list[tuple[str, ...]]  # [N], the references of each image


# Of each name: a total for each sample, an array [N] for each sample; and reasons.
_Measured = tuple[dict[str, list[float]], dict[str, list[np.ndarray]], dict[str, str]]


def _split(candidates: Captions, references: Captions, words: Words) -> _Split:
    ids = tuple(candidates)
    samples = len(candidates[ids[0]])
    return _Split(
        ids,
        [[words.of[candidates[i][s]] for i in ids] for s in range(samples)],
        [tuple(words.of[text] for text in references[i]) for i in ids],
    )


def _notes(candidates: Captions, references: Captions, words: Words) -> tuple[str, ...]:
    every = (text for texts in (candidates, references) for one in texts.values() for text in one)
    return tuple(word_notes((text, words.of[text].split()) for text in dict.fromkeys(every)))


def _quick(split: _Split, wanted: Sequence[str]) -> _Measured:
    """BLEU, ROUGE-L and CIDEr-D, as far as they are wanted."""
    totals: dict[str, list[float]] = {}
    each: dict[str, list[np.ndarray]] = {}
    why: dict[str, str] = {}
    if "cider_d" in wanted and len(split.ids) == 1:
        why["cider_d"] = "is 0 by definition for one image; score two or more together"
    elif "cider_d" in wanted and not any(text.split() for texts in split.truth for text in texts):
        why["cider_d"] = "no reference holds a word; give references that do"
    for name, score in (
        ("bleu", bleu_scores),
        ("rouge_l", rouge_l_scores),
        ("cider_d", cider_d_scores),
    ):
        if name in wanted and name not in why:
            for total, rows in score(split.spoken, split.truth):
                for key in total:
                    totals.setdefault(key, []).append(total[key])
                    each.setdefault(key, []).append(rows[key])
    return totals, each, why


def _add(
    name: str,
    score: Callable[[list[list[Pair]]], list[tuple[float, np.ndarray]]] | JavaError,
    split: Sequence[_Split],
    measured: Sequence[_Measured],
) -> None:
    """Adds a metric that is a Java program: its scores, or the reason why there are none."""
    lists = [
        list(zip(captions, one.truth, strict=True)) for one in split for captions in one.spoken
    ]
    try:
        if isinstance(score, JavaError):
            raise score
        for one in split:
            for n, i in enumerate(one.ids):
                texts = (*(captions[n] for captions in one.spoken), *one.truth[n])
                longest = max(text.count(" ") + 1 for text in texts)
                if longest > LONGEST:
                    raise JavaError(
                        f"image {i} has a text of {longest} words, which would take {name} hours; "
                        f"leave out what is longer than {LONGEST}"
                    )
        scores = iter(score(lists))
    except JavaError as error:
        for _, _, why in measured:
            why[name] = str(error)
        return
    for one, (totals, each, _) in zip(split, measured, strict=True):
        for _ in one.spoken:
            total, rows = next(scores)
            totals.setdefault(name, []).append(total)
            each.setdefault(name, []).append(rows)


def _names(metric: str) -> tuple[str, ...]:
    return tuple(f"bleu_{n}" for n in range(1, 5)) if metric == "bleu" else (metric,)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # run from a folder that is not installed
        return None
