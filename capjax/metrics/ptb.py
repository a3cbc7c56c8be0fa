"""Captions split into words as the benchmarks split them, in Java where there is one."""

import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from capjax.data.tokens import DROPPED, one_line, tokenize
from capjax.metrics.java import LOCALE, PATIENCE, Java, JavaError, find_java, run_java

JAVA, PYTHON = "ptb (java)", "capjax (python)"


class Words(NamedTuple):
    """Texts and their words."""

    of: dict[str, str]  # a text -> its words, joined by spaces
    tokenizer: str  # JAVA or PYTHON
    why_not_java: str | None  # the reason, where it is PYTHON


def split_texts(
    texts: Iterable[str], java: Java | JavaError, *, patience: float = PATIENCE
) -> Words:
    """The words of each text: pycocoevalcap's PTBTokenizer, or without Java `capjax.data.tokenize`.

    The two differ in 17 of the 198,162 different captions of COCO's val2014. All texts go through
    one run of the program, each once. java: the runtime, or why there is none.
    """
    once = list(dict.fromkeys(texts))
    try:
        if isinstance(java, JavaError):
            raise java
        rows = java_words(once, java, patience=patience)
        return Words(dict(zip(once, rows, strict=True)), JAVA, None)
    except JavaError as error:
        return Words({text: " ".join(tokenize(text)) for text in once}, PYTHON, str(error))


def java_words(
    texts: Sequence[str], java: Java | None = None, *, patience: float = PATIENCE
) -> list[str]:
    """Captions as words joined by spaces, by pycocoevalcap's Java program.

    It is fed through a pipe, so nothing is written to disk. patience: seconds that it may take (a
    minute at most), and one more for each 1,000 captions or 160 kB. Raises JavaError (an OSError)
    where it cannot run or does not answer each caption with a line.
    """
    if not texts:
        return []
    java = java or find_java()
    data = "".join(one_line(text) + "\n" for text in texts).encode(errors="replace")
    out, _ = run_java(
        java.path,
        [*LOCALE, "-cp", str(find_jar("tokenizer", "stanford-corenlp-*.jar"))]
        + ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"],
        data=data,
        timeout=min(patience, 60) + len(texts) / 1_000 + len(data) / 160_000,
    )
    rows = out.decode(errors="replace").split("\n")
    if len(rows) != len(texts) + 1:
        raise JavaError(
            f"java split {len(texts)} captions into {len(rows) - 1} rows; check that it runs"
        )
    return [" ".join(w for w in row.rstrip().split(" ") if w not in DROPPED) for row in rows[:-1]]


def find_jar(package: str, pattern: str) -> Path:
    """A file of one of pycocoevalcap's packages; JavaError where it is not there."""
    spec = importlib.util.find_spec(f"pycocoevalcap.{package}")
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or ():
        for path in sorted(Path(folder).glob(pattern)):
            return path
    raise JavaError(f"pycocoevalcap has no {package}/{pattern}; install pycocoevalcap 1.2 again")
