"""What did each stage of a recipe change? Its numbers and captions beside those of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

from capjax.data.split import Split
from capjax.evaluation import Evaluation
from capjax.report import Example, Html, Missing, gallery, marked, section, table, variants
from capjax.report.gallery import evenly

# What is told of every stage, and its heading; what no stage has gets no column.
COLUMNS = {
    "cider_d": "CIDEr-D",
    "distinct_words": "distinct words",
    "distinct_captions": "distinct captions",
    "novel": "novel",
    "mean_length": "mean length",
    "true": "true",
    "identifies": "identifies",
    "e_gan": "E-GAN",
    "e_ngan": "E-NGAN",
}
MARKS = ("true", "identifies", "cider_d")  # what is told of one caption
MANY = 6  # images whose many captions are shown


def stage_table(stages: Mapping[str, Evaluation]) -> Html:
    """A row a stage: how its captions were spoken, and what of COLUMNS was measured of them."""
    every = [stage.scores for stage in stages.values()]
    names = [name for name in COLUMNS if any(scores.get(name) is not None for scores in every)]
    rows = [
        [stage, scores["decoding"]["method"], *(_cell(name, scores) for name in names)]
        for stage, scores in zip(stages, every, strict=True)
    ]
    headings = ["after stage", "spoken by", *(COLUMNS[name] for name in names)]
    return table(headings, rows, "Validation split after each stage")


def _cell(name: str, scores: Mapping[str, Any]) -> Any:
    value = scores.get(name)
    return Missing(scores["unavailable"].get(name, "")) if value is None else value


def stage_examples(split: Split, stages: Mapping[str, Evaluation], number: int) -> list[Example]:
    """Images, evenly out of a split, with the captions of each stage, marked, and people's."""
    by_id = {name: {row["id"]: row for row in stage.rows} for name, stage in stages.items()}
    shown = []
    for i in evenly(len(split.ids), number):
        name = split.ids[i]
        captions: list[tuple[str, Sequence[str]]] = [
            (f"after {stage}", marked_captions(rows[name])) for stage, rows in by_id.items()
        ]
        captions.append(("people", split.captions[i]))
        shown.append(Example(name, split.image(i), captions))
    return shown


def marked_captions(row: Mapping[str, Any]) -> list[Html]:
    """The caption or captions of a row, each with what is known of it."""
    if "captions" not in row:
        return [marked(row["caption"], {name: row[name] for name in MARKS if name in row})]
    return [
        marked(text, {name: row[name][n] for name in MARKS if name in row})
        for n, text in enumerate(row["captions"])
    ]


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
        different = variants(texts)
        heading = f"{len(different)} different of {len(texts)}"
        image = split.image(index[row["id"]])
        examples.append(Example(row["id"], image, [(heading, different)]))
    drawn = len(rows[0]["many"])
    note = Html(
        '<p class="note">Each caption is drawn from noise of its own; \u00d7 counts equal ones.'
        " Words that all captions of an image share are pale; those that at most half of them have"
        " are bold and underlined.</p>"
    )
    heading = f"One image, {'ten' if drawn == 10 else drawn} captions"
    return section(heading, note, gallery(examples))
