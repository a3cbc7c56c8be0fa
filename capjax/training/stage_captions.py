"""What did each stage of a recipe change? Its numbers and captions beside those of the others."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from capjax.data.scenes import false_words_of
from capjax.data.split import Split
from capjax.evaluation import Evaluation
from capjax.report import (
    Example,
    Html,
    escape,
    evenly,
    gallery,
    marked,
    section,
    table,
    untrue_note,
    variants,
)
from capjax.training.stage_measures import stage_rows
from capjax.training.telling import watched

Faults = Callable[[str], tuple[int, ...] | None]  # which words of a caption make it false
MARKS = ("true", "identifies", "cider_d")  # what is told of one caption
MANY = 6  # images whose many captions are shown


def stage_table(stages: Mapping[str, Evaluation], test: Evaluation | None = None) -> Html:
    """A column a stage, of the validation split: how its captions were spoken, and their worth.

    test: what the last stage says of the test split.
    """
    every = [stage.scores for stage in stages.values()]
    heads = [f"after {name}" for name in stages]
    if test is not None:
        every, heads = [*every, test.scores], [*heads, f"{heads[-1]}, test split"]
    rows = [[row.name, *map(_cell, row.values, row.reasons)] for row in stage_rows(every)]
    return table(["", *(Html(f'<div class="number">{escape(head)}</div>') for head in heads)], rows)


def _cell(value: str, reason: str) -> Html:
    shown = escape(value.replace(" ", "\xa0"))
    if not value:
        why = escape(reason or "not measured")
        shown = Html(f'<span class="missing" title="{why}">\u2013</span>')
    return Html(f'<div class="number">{shown}</div>')


def opening(
    split: Split, stages: Mapping[str, Evaluation], test: Evaluation | None, number: int
) -> list[Html]:
    """What a report opens with: the images that a person watched, and what each stage is worth."""
    shown = stage_examples(split, stages, watched(split)[:number])
    notes = [untrue_note()] if split.truth is not None else []
    number_of = ("no image", "one image", "two images", "three images")[len(shown)]
    said = section(f"What it says of {number_of}", *notes, gallery(shown))
    return [
        *([said] if shown else []),
        section("What its captions are worth", stage_table(stages, test)),
    ]


def stage_examples(
    split: Split, stages: Mapping[str, Evaluation], chosen: Sequence[int]
) -> list[Example]:
    """Images of a split with the captions of each stage, marked, and people's."""
    by_id = {name: {row["id"]: row for row in stage.rows} for name, stage in stages.items()}
    shown = []
    for i in chosen:
        name, false = split.ids[i], partial(false_words_of, split, i)
        captions: list[tuple[str, Sequence[str]]] = [
            (f"after {stage}", marked_captions(rows[name], false)) for stage, rows in by_id.items()
        ]
        captions.append(("people", split.captions[i]))
        shown.append(Example(name, split.image(i), captions))
    return shown


def marked_captions(row: Mapping[str, Any], false: Faults = lambda text: ()) -> list[Html]:
    """The caption or captions of a row, each with what is known of it."""
    several = "captions" in row
    shown = []
    for n, text in enumerate(row["captions"] if several else [row["caption"]]):
        marks = {name: row[name][n] if several else row[name] for name in MARKS if name in row}
        wrong = false(text)
        if wrong is None:  # it states nothing
            marks = {"a sentence about a scene": False} | marks
        shown.append(marked(text, marks, wrong or ()))
    return shown


def many_section(split: Split, found: Evaluation, number: int = MANY) -> Html | None:
    """A few images, each with the captions that were drawn of it from different noise.

    They are in the rows as `many`; None where no row has any.
    """
    index = {name: i for i, name in enumerate(split.ids)}
    rows = [row for row in found.rows if row.get("many")]
    if not rows:
        return None
    examples = []
    for row in (rows[n] for n in evenly(len(rows), number)):
        texts = row["many"]
        place = index[row["id"]]
        different = variants(texts, partial(false_words_of, split, place))
        heading = f"{len(different)} different of {len(texts)}"
        examples.append(Example(row["id"], split.image(place), [(heading, different)]))
    drawn = len(rows[0]["many"])
    note = Html(
        '<p class="note">Each caption is drawn from noise of its own; \u00d7 counts equal ones.'
        " Words that all captions of an image share are pale; those that at most half of them have"
        " are bold and underlined.</p>"
    )
    heading = f"One image, {'ten' if drawn == 10 else drawn} captions"
    return section(heading, note, gallery(examples))
