"""What stands where on the page."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import gradio

from capjax.page import shown
from capjax.page.ready import DISTRACTORS, MOST_DRAWN, How

RATIONALITY = "Rationality \u03bb: the less, the more is held down of what fits the others, too"


class Parts(NamedTuple):
    """What a visitor sees and moves."""

    target: gradio.HTML
    alert: gradio.HTML
    photo: gradio.File
    source: gradio.Dropdown
    number: gradio.Number
    another: gradio.Button
    captions: gradio.HTML
    temperature: gradio.Slider
    top_p: gradio.Slider
    draws: gradio.Slider
    diversity: gradio.Slider
    again: gradio.Button
    others: gradio.File
    alike: gradio.Button
    clear: gradio.Button
    rationality: gradio.Slider
    looks: gradio.HTML
    told: gradio.HTML


def lay_out(sources: Sequence[str], first: tuple[str, int], how: How) -> Parts:
    """The parts from top to bottom, within the page that is being made; on a phone all below one
    another.

    Args:
      sources: names of what pictures can be chosen from.
      first: the source and the number that the page begins with.
      how: captions are drawn at first.
    """
    made: dict[str, Any] = {}
    with gradio.Row():
        with gradio.Column(scale=1, min_width=300):
            made |= _choosing(sources, *first)
        with gradio.Column(scale=2, min_width=300):
            made["captions"] = _html("captions")
            with gradio.Accordion("How captions are searched and drawn", open=False):
                made |= _drawing(how)
    gradio.HTML(shown.title("Tell it from others"), apply_default_css=False)
    with gradio.Row():
        with gradio.Column(scale=1, min_width=300):
            dropped = f"Drop up to {DISTRACTORS} photos that it is to be told from"
            made["others"] = _drop(dropped, "others", "multiple")
            with gradio.Row():
                made["alike"] = gradio.Button("Look-alikes", elem_id="alike", min_width=100)
                made["clear"] = gradio.Button("None", elem_id="clear", min_width=100)
        with gradio.Column(scale=2, min_width=300):
            made["rationality"] = _slider(RATIONALITY, 0, 1, 0.5, 0.05, "rationality")
            made["looks"] = _html("looks")
            made["told"] = _html("told")
    return Parts(**made)


def _choosing(sources: Sequence[str], source: str, number: int) -> dict[str, Any]:
    """The image, and where another comes from."""
    made: dict[str, Any] = {
        "target": _html("target"),
        "alert": _html("alert"),
        "photo": _drop("Drop a photo, or click to choose one", "photo", "single"),
    }
    with gradio.Row():
        made["source"] = gradio.Dropdown(
            sources, value=source, label="Or take one of", scale=2, min_width=160, elem_id="source"
        )
        made["number"] = gradio.Number(
            number, label="Number", precision=0, min_width=80, elem_id="number"
        )
    made["another"] = gradio.Button("Another one", elem_id="another")
    return made


def _drawing(how: How) -> dict[str, Any]:
    """What of plain captions can be dragged."""
    made: dict[str, Any] = {}
    with gradio.Row():
        made["temperature"] = _slider(
            "Temperature of draws", 0.1, 1.5, how.temperature, 0.05, "temperature"
        )
        made["top_p"] = _slider("Top-p of draws", 0.05, 1, how.top_p, 0.05, "top_p")
    with gradio.Row():
        made["draws"] = _slider("Draws", 1, MOST_DRAWN, how.number, 1, "draws")
        made["diversity"] = _slider(
            "Diversity of diverse beams (nats)", 0, 3, how.diversity, 0.1, "diversity"
        )
    made["again"] = gradio.Button("Draw again", elem_id="again")
    return made


def _html(name: str) -> gradio.HTML:
    return gradio.HTML(elem_id=name, apply_default_css=False)


def _slider(
    label: str, least: float, most: float, value: float, step: float, name: str
) -> gradio.Slider:
    return gradio.Slider(
        least, most, value, step=step, label=label, elem_id=name, min_width=200, interactive=True
    )


def _drop(label: str, name: str, count: Literal["single", "multiple"]) -> gradio.File:
    """Where files are dropped. Of any kind: what is no photo is told so in our words."""
    return gradio.File(label=label, elem_id=name, file_count=count, height=140, interactive=True)
