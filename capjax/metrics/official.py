"""The benchmarks' own scores of captions as text, computed by pycocoevalcap's pure-Python scorers.

BLEU, ROUGE-L and CIDEr-D need no Java. The words are split by the benchmarks' Java program where
there is a `java`, and else by capjax's own tokenizer, which agrees with it on all but a few in
100,000 captions; the result says which it was.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Collection, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capjax.data.tokens import DROPPED, one_line, tokenize
from capjax.errors import InputError

ALWAYS = ("bleu", "rouge_l", "cider_d")
METRICS = (*ALWAYS, "meteor", "spice")
_UNAVAILABLE = {
    "meteor": "needs 1.5 GB of memory and a Java process that can hang; not offered yet",
    "spice": "needs Stanford CoreNLP models (385 MB, downloaded) and Java 8; not offered yet",
}
JAVA, PYTHON = "ptb (java)", "capjax (python)"

Captions = Mapping[Any, Sequence[str]]  # {id: captions}, ids hashable


class Scores(NamedTuple):
    """What was measured, in all and of each image."""

    ids: tuple[Hashable, ...]  # [N], in the order of the candidates
    total: dict[str, float]  # "bleu_1" ... "bleu_4", "rouge_l", "cider_d"
    each: dict[str, np.ndarray]  # the same names -> float64 [N]
    tokenizer: str  # JAVA or PYTHON
    unavailable: dict[str, str]  # a metric that was asked for -> why it is not there


def score_captions(
    candidates: Captions, references: Captions, *, metrics: Collection[str] | None = None
) -> dict[str, Any]:
    """BLEU-1..4, ROUGE-L and CIDEr-D of one caption an image against its references.

    candidates: {id: [caption]}; references: {id: [reference, ...]} of the same ids. metrics: any of
    METRICS; by default all but "meteor" and "spice". CIDEr-D weighs n-grams by how many of these
    images' references hold them, so it depends on which images are scored together, and cannot be
    computed for one image.

    -> {"bleu_1": float, ..., "bleu_4", "rouge_l", "cider_d", "n_images": N, "tokenizer": which,
    "unavailable": {what: reason}}; cider_d is 0 to 10, the others 0 to 1. Raises InputError where
    the ids differ, an id has not exactly one candidate or has no reference, or a metric is unknown.
    """
    scores = score_each(candidates, references, metrics=metrics)
    return {
        **scores.total,
        "n_images": len(scores.ids),
        "tokenizer": scores.tokenizer,
        "unavailable": scores.unavailable,
    }


def score_each(
    candidates: Captions, references: Captions, *, metrics: Collection[str] | None = None
) -> Scores:
    """What `score_captions` gives, and the scores of each image. The same arguments and errors."""
    # Imported here: Cider's module takes pdb along, which a training process has no use for.
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    wanted = ALWAYS if metrics is None else tuple(metrics)
    _check(candidates, references, wanted)
    unavailable = {name: why for name, why in _UNAVAILABLE.items() if name in wanted}
    if len(candidates) == 1 and "cider_d" in wanted:
        unavailable["cider_d"] = "is 0 by definition for one image; score two or more together"
    ids = tuple(candidates)
    texts = [candidates[i][0] for i in ids] + [text for i in ids for text in references[i]]
    tokenizer = JAVA
    try:
        words = iter(_java_words(texts))
    except OSError as error:
        words = iter([" ".join(tokenize(text)) for text in texts])
        tokenizer = PYTHON
        unavailable[JAVA] = str(error)
    spoken = {i: [next(words)] for i in ids}
    truth = {i: [next(words) for _ in references[i]] for i in ids}

    total: dict[str, float] = {}
    each: dict[str, np.ndarray] = {}
    if "bleu" in wanted:
        whole, rows = Bleu(4).compute_score(truth, spoken, verbose=0)
        for n in range(4):
            total[f"bleu_{n + 1}"] = float(whole[n])
            each[f"bleu_{n + 1}"] = np.asarray(rows[n], np.float64)
    for name, scorer in (("rouge_l", Rouge), ("cider_d", Cider)):
        if name in wanted and name not in unavailable:
            if name == "cider_d" and not any(text for texts in truth.values() for text in texts):
                unavailable[name] = "no reference holds a word"
                continue
            one, rows = scorer().compute_score(truth, spoken)
            total[name] = float(one)
            each[name] = np.asarray(rows, np.float64)
    return Scores(ids, total, each, tokenizer, unavailable)


def _check(candidates: Captions, references: Captions, wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in METRICS:
            raise InputError(f"there is no metric {name!r}; choose from {', '.join(METRICS)}")
    if not candidates:
        raise InputError("there are no candidate captions to score; give one for each image")
    for one, other, said in (
        (candidates, references, "has a candidate but no references"),
        (references, candidates, "has references but no candidate"),
    ):
        alone = [i for i in one if i not in other]
        if alone:
            raise InputError(
                f"image {alone[0]} {said} ({len(alone)} images like it); give both the same ids"
            )
    for i, captions in candidates.items():
        if isinstance(captions, str) or len(captions) != 1:
            count = "a text" if isinstance(captions, str) else f"{len(captions)} captions"
            raise InputError(
                f"image {i} has {count} as its candidate; give a list of one caption, and score "
                "several captions of an image in as many calls"
            )
        if isinstance(references[i], str) or not references[i]:
            raise InputError(f"image {i} needs a list of at least one reference caption")
        for text in (*captions, *references[i]):
            if not isinstance(text, str):
                raise InputError(f"image {i} has the caption {text!r}, which is not text")


def _java_words(texts: Sequence[str]) -> list[str]:
    """Captions as words joined by spaces, by pycocoevalcap's Java program.

    It is fed through a pipe, so nothing is written to disk. Raises OSError where it cannot run or
    does not answer each caption with a line.
    """
    if shutil.which("java") is None:
        raise OSError("there is no java on the PATH")
    package = importlib.util.find_spec("pycocoevalcap.tokenizer")
    folders = package.submodule_search_locations if package else None
    jars = [jar for folder in folders or () for jar in Path(folder).glob("stanford-corenlp-*.jar")]
    if not jars:
        raise OSError("pycocoevalcap has no tokenizer jar")
    done = subprocess.run(
        ["java", "-cp", str(jars[0]), "edu.stanford.nlp.process.PTBTokenizer"]
        + ["-preserveLines", "-lowerCase"],
        input="".join(one_line(text) + "\n" for text in texts).encode(errors="replace"),
        capture_output=True,
        check=False,
    )
    rows = done.stdout.decode(errors="replace").split("\n")
    if done.returncode or len(rows) != len(texts) + 1:
        last = " ".join(done.stderr.decode(errors="replace").strip().splitlines()[-1:])
        raise OSError(f"java split {len(texts)} captions into {len(rows) - 1} ({last})")
    return [" ".join(w for w in row.rstrip().split(" ") if w not in DROPPED) for row in rows[:-1]]
