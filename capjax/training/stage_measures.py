"""What are the captions after each stage worth? The few numbers that tell, side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

Scores = Mapping[str, Any]


class Row(NamedTuple):
    """A measure, and its value after each stage as text; "" where it was not measured."""

    name: str
    values: tuple[str, ...]
    reasons: tuple[str, ...]  # why each was not; "" where it was, or nobody says


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _different(scores: Scores) -> Any:
    found = scores.get("distinct_captions")
    return None if found is None else found / scores["n_images"]


# Name, what it is of the scores, how it is written.
_MEASURES: tuple[tuple[str, str | Callable[[Scores], Any], Callable[[Any], str]], ...] = (
    ("quality: CIDEr-D", "cider_d", "{:.3f}".format),
    ("quality: r by its own evaluator", "e_gan", "{:.3f}".format),
    ("truth: true captions", "true", _percent),
    ("truth: true sentences", "true_sentences", _percent),
    ("truth: contradictions of a paragraph", "contradictions", "{:.2f}".format),
    ("coverage: objects spoken of truly", "covered", _percent),
    ("identification: true of its image alone", "identifies", _percent),
    ("diversity: different captions", _different, _percent),
    ("diversity: distinct words", "distinct_words", "{:,.0f}".format),
    ("diversity: novel captions", "novel", _percent),
    ("diversity: different sentences of 1,000", "distinct_sentences_per_1000", "{:,.0f}".format),
    ("repetition: trigrams said before", "repeated_trigrams", _percent),
    ("sentences of a paragraph", "mean_sentences", "{:.1f}".format),
    ("words of a caption", "mean_length", "{:.1f}".format),
)


def stage_rows(stages: Sequence[Scores]) -> list[Row]:
    """A row a measure that any of them has, and first how the captions were spoken."""
    methods = tuple(scores["decoding"]["method"] for scores in stages)
    rows = [Row("spoken by", methods, ("",) * len(methods))]
    for name, of, written in _MEASURES:
        values = [of(scores) if callable(of) else scores.get(of) for scores in stages]
        if any(value is not None for value in values):
            texts = tuple("" if value is None else written(value) for value in values)
            reasons = tuple(str(scores["unavailable"].get(of, "")) for scores in stages)
            rows.append(Row(name, texts, reasons))
    return rows


def stage_lines(stages: Mapping[str, Scores]) -> list[str]:
    """The rows as lines for a terminal, under the stages' names."""
    rows = stage_rows([*stages.values()])
    table = [("after", *stages), *((row.name, *row.values) for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    return [
        "  ".join(
            [line[0].ljust(widths[0])]
            + [(x or "-").rjust(width) for x, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in table
    ]
