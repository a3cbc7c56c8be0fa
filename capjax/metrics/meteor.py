"""METEOR 1.5 (Denkowski & Lavie, 2014) of captions that have been split, by its own Java program.

The program answers lines with lines: `SCORE ||| reference ||| ... ||| hypothesis` with the counts
that the score is made of, and `EVAL ||| counts ||| counts ...` with a score for each and one for
all. pycocoevalcap speaks to it in the same way, but hangs for ever after any error.
"""

from collections.abc import Sequence

import numpy as np

from capjax.metrics.java import LOCALE, PATIENCE, Java, JavaError, Talk
from capjax.metrics.ptb import find_jar

# The program takes seconds for two captions of 1,000 words, and dies on one of 100,000.
LONGEST = 1_000
_COUNTS = 23  # numbers that SCORE is answered with

Pair = tuple[str, tuple[str, ...]]  # a hypothesis and its references


def meteor_scores(
    lists: Sequence[Sequence[Pair]],
    java: Java,
    *,
    memory: str = "2G",
    patience: float = PATIENCE,
) -> list[tuple[float, np.ndarray]]:
    """METEOR of lists of captions: of each list its total, and the scores float64 [N] within it.

    All lists go through one process, which has ended when this returns or raises; what is the same
    in several is scored once. It takes 15 to 30 s to start and 1.5 GB. The total is METEOR's own:
    of the counts of all captions, not the mean. A caption without words scores 0.

    Args:
      memory: the most that Java may take, as after -Xmx.
      patience: seconds without an answer after which the program is ended.
    Raises JavaError, with the reason and the mend, where it cannot run or does not answer.
    """
    jar = find_jar("meteor", "meteor-1.5.jar")
    find_jar("meteor", "data/paraphrase-en.gz")  # read by the program, from beside its jar
    asked = list(dict.fromkeys(pair for pairs in lists for pair in pairs))
    command = [*LOCALE, f"-Xmx{memory}", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    results = []
    with Talk(java.path, command, patience=patience) as talk:
        answers = talk.ask([_score_line(pair) for pair in asked], len(asked))
        for answer in answers:
            _numbers(answer, _COUNTS)
        counts = dict(zip(asked, answers, strict=True))
        for pairs in lists:
            line = " ||| ".join(["EVAL", *(counts[pair] for pair in pairs)])
            *each, total = (_numbers(score, 1)[0] for score in talk.ask([line], len(pairs) + 1))
            results.append((total, np.array(each)))
    return results


def _score_line(pair: Pair) -> str:
    """A question of one line, in which nothing within a caption can pass for a separator."""
    hypothesis, references = pair
    return " ||| ".join(["SCORE", *map(_cleaned, references), _cleaned(hypothesis)])


def _cleaned(words: str) -> str:
    return words.replace("|||", "").replace("  ", " ")  # as pycocoevalcap cleans hypotheses


def _numbers(answer: str, count: int) -> list[float]:
    try:
        numbers = [float(number) for number in answer.split()]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise JavaError(
            f"METEOR answered {answer[:80]!r} where {count} numbers were due; check that java runs"
        )
    return numbers
