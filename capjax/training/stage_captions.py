"""What did each stage of a recipe change? Its numbers and captions beside those of the others."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from capjax.data.scenes import false_words_of
from capjax.data.sentences import sentences
from capjax.data.split import Split
from capjax.evaluation import Evaluation
from capjax.report import (
    Example,
    Html,
    escape,
    evenly,
    gallery,
    marked,
    paragraph,
    paragraph_variants,
    section,
    table,
    untrue_note,
    variants,
)
from capjax.training.stage_measures import stage_rows
from capjax.training.telling import watched

Faults = Callable[[str], tuple[int, ...] | None]  # which words of a caption make it false
MARKS = ("true", "identifies", "cider_d")  # what is told of one caption
MARKS_OF_PARAGRAPHS = (
    *("true_sentences", "covered", "contradictions", "repeated_trigrams", "cider_d"),
)
STATELESS = "A sentence that states nothing of a scene is marked as a whole."
KINDS = (  # what is drawn many times, and how differences are shown; of paragraphs
    (
        "caption",
        "Words that all captions of an image share are pale; those that at most half of them have"
        " are bold and underlined.",
    ),
    ("paragraph", "Sentences that more than half of an image's paragraphs have are pale."),
)
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
    more = STATELESS if any(map(of_paragraphs, stages.values())) else ""
    notes = [untrue_note(more)] if split.truth is not None else []
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
    paragraphs = any(map(of_paragraphs, stages.values()))
    shown = []
    for i in chosen:
        name, false = split.ids[i], partial(false_words_of, split, i)
        captions: list[tuple[str, Sequence[str]]] = [
            (f"after {stage}", marked_captions(rows[name], false, paragraphs))
            for stage, rows in by_id.items()
        ]
        people: Sequence[str] = split.captions[i]
        if paragraphs:
            people = [paragraph(sentences(text)) for text in people]
        captions.append(("people", people))
        shown.append(Example(name, split.image(i), captions))
    return shown


def of_paragraphs(found: Evaluation) -> bool:
    """Whether captions that were evaluated are paragraphs."""
    return "mean_sentences" in found.scores


def marked_captions(
    row: Mapping[str, Any], false: Faults = lambda text: (), paragraphs: bool = False
) -> list[Html]:
    """The caption or captions of a row, each with what is known of it."""
    several = "captions" in row
    names = MARKS_OF_PARAGRAPHS if paragraphs else MARKS
    shown = []
    for n, text in enumerate(row["captions"] if several else [row["caption"]]):
        marks = {name: row[name][n] if several else row[name] for name in names if name in row}
        if paragraphs:
            shown.append(marked(paragraph(sentences(text), false), marks))
            continue
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
        false = partial(false_words_of, split, place)
        if of_paragraphs(found):
            different = paragraph_variants([sentences(text) for text in texts], false)
        else:
            different = variants(texts, false)
        heading = f"{len(different)} different of {len(texts)}"
        examples.append(Example(row["id"], split.image(place), [(heading, different)]))
    drawn = len(rows[0]["many"])
    what, differ = KINDS[of_paragraphs(found)]
    note = (
        f'<p class="note">Each {what} is drawn from noise of its own; \u00d7 counts equal ones.'
        f" {differ}</p>"
    )
    heading = f"One image, {'ten' if drawn == 10 else drawn} {what}s"
    return section(heading, Html(note), gallery(examples))
