"""SPICE (Anderson et al., 2016) of captions that have been split, where its models are installed.

pycocoevalcap brings the program but not the parser that it needs, which it would download (385 MB)
the first time it is used, into the folder of the package. Nothing is downloaded here.
"""

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from capjax.metrics.java import LOCALE, PATIENCE, Java, JavaError, find_java, run_java
from capjax.metrics.meteor import Pair
from capjax.metrics.ptb import find_jar

FOLDER = "CAPJAX_SPICE_JARS"  # names the environment variable with the folder of the jars
JARS = ("stanford-corenlp-3.6.0.jar", "stanford-corenlp-3.6.0-models.jar")
PARSES = 1.0  # sentences a second, on a slow machine
# The parser's cache reaches into classes that Java hides since its version 16.
_OPENED = ("java.lang", "java.util", "java.math", "java.text", "java.nio", "sun.nio.ch")


def spice_missing() -> str | None:
    """Why SPICE cannot be computed here, and what to do; None where all that it needs is there.

    For a command to ask before it starts to work: it takes less than a second.
    """
    try:
        _class_path(find_java())
    except JavaError as error:
        return str(error)
    return None


def spice_scores(
    lists: Sequence[Sequence[Pair]],
    java: Java,
    *,
    memory: str = "8G",
    patience: float = PATIENCE,
) -> list[tuple[float, np.ndarray]]:
    """SPICE of lists of captions: of each list its mean, and the scores float64 [N] within it.

    A caption that has no score (neither it nor its references name anything) is nan, and not part
    of the mean. Sentences are parsed once for all lists; what is written lies in a temporary
    folder.

    Args:
      memory: the most that Java may take, as after -Xmx.
      patience: seconds that each list may take, and more for its sentences.
    Raises JavaError, with the reason and the mend, where it cannot run or fails.
    """
    opened = (("--add-opens", f"java.base/{name}=ALL-UNNAMED") for name in _OPENED)
    command = [*LOCALE, f"-Xmx{memory}"]
    command += [word for pair in opened for word in pair] if java.major >= 16 else []
    command += ["-cp", os.pathsep.join(map(str, _class_path(java)))]
    results = []
    with tempfile.TemporaryDirectory(prefix="capjax-spice-") as name:
        folder = Path(name)
        (folder / "cache").mkdir()
        for pairs in lists:
            rows = [
                {"image_id": n, "test": hypothesis, "refs": references}
                for n, (hypothesis, references) in enumerate(pairs)
            ]
            (folder / "in.json").write_text(json.dumps(rows))
            run_java(
                java.path,
                [f"-Djava.io.tmpdir={name}", *command, "edu.anu.spice.SpiceScorer"]
                + [str(folder / "in.json"), "-cache", str(folder / "cache")]
                + ["-out", str(folder / "out.json"), "-silent"],
                timeout=patience + sum(1 + len(references) for _, references in pairs) / PARSES,
            )
            each = _read(folder / "out.json", len(pairs))
            if np.isnan(each).all():
                raise JavaError("found nothing named in any caption or reference; check the texts")
            results.append((float(np.nanmean(each)), each))
            (folder / "out.json").unlink()
    return results


def _class_path(java: Java) -> list[Path]:
    """The jars of the program; JavaError, in one sentence, where some are missing."""
    program = find_jar("spice", "spice-1.0.jar")
    own = program.parent / "lib"
    folders = [own] + ([Path(os.environ[FOLDER])] if os.environ.get(FOLDER) else [])
    jars = {jar.name: jar for folder in folders for jar in sorted(folder.glob("*.jar"))}
    missing = [name for name in JARS if name not in jars]
    if missing:
        raise JavaError(
            f"needs {' and '.join(missing)}, which no package brings: unpack them from "
            "stanford-corenlp-full-2015-12-09.zip (nlp.stanford.edu/software, 385 MB) into a "
            f"folder and name it with the environment variable {FOLDER}"
        )
    if java.major >= 15 and not any(name.startswith("nashorn-core") for name in jars):
        raise JavaError(
            f"writes its results in JavaScript, which Java {java.major} does not have: put Java 8 "
            f"or 11 on the PATH, or nashorn-core-15.4.jar and its asm jars beside {jars[JARS[0]]}"
        )
    return [program, *jars.values()]


def _read(path: Path, count: int) -> np.ndarray:
    """The f-scores [N] of a file of results, by number of caption."""
    try:
        scores = {
            row["image_id"]: row["scores"]["All"]["f"] for row in json.loads(path.read_bytes())
        }
        return np.array([_number(scores[n]) for n in range(count)])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JavaError(
            f"SPICE did not write a score for each caption ({error!r}); check that java runs"
        ) from error


def _number(score: float | str | None) -> float:
    return np.nan if score is None else float(score)  # JSON has no nan: it is null, or "NaN"
