"""What does a run look like? Pure functions that turn numbers, captions and images into HTML."""

from capjax.report.charts import chart, chart_groups, curves
from capjax.report.gallery import (
    Example,
    caption_list,
    evenly,
    gallery,
    marked,
    picture,
    untrue,
    untrue_note,
    variants,
)
from capjax.report.looks import Looks, looks
from capjax.report.markup import Html, escape
from capjax.report.page import page, section
from capjax.report.pairs import Pair, Shaded, legend, pairs, shaded
from capjax.report.paragraphs import paragraph, paragraph_variants
from capjax.report.tables import Missing, facts, score_table, table
from capjax.report.write import write_page, write_report

__all__ = [
    "Example",
    "Html",
    "Looks",
    "Missing",
    "Pair",
    "Shaded",
    "caption_list",
    "chart",
    "chart_groups",
    "curves",
    "escape",
    "evenly",
    "facts",
    "gallery",
    "legend",
    "looks",
    "marked",
    "page",
    "pairs",
    "paragraph",
    "paragraph_variants",
    "picture",
    "score_table",
    "section",
    "shaded",
    "table",
    "untrue",
    "untrue_note",
    "variants",
    "write_page",
    "write_report",
]
