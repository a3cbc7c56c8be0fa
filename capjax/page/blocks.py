"""The page as gradio has it: its parts, and which move of them asks for what."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio

from capjax.errors import InputError
from capjax.page import shown
from capjax.page.layout import Parts, lay_out
from capjax.page.moves import Chosen, Moves
from capjax.page.ready import How

KEPT = 3600  # seconds that a visitor's images are kept, in memory
AT_ONCE, WAITING = 4, 64  # answers that are worked on at once, and that wait for their turn

# Nobody but the page asks.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
# While a slider is dragged its last place counts, and nothing flickers.
_DRAGGED: dict[str, Any] = {"trigger_mode": "always_last", "show_progress": "hidden", **_PRIVATE}


def blocks_of(moves: Moves, how: How) -> gradio.Blocks:
    """The page.

    Args:
      how: captions are drawn at first.
    """
    with gradio.Blocks(title="capjax", analytics_enabled=False) as blocks:
        gradio.HTML(shown.heading(), apply_default_css=False)
        chosen = gradio.State(None, time_to_live=KEPT)
        seed = gradio.State(how.seed)
        parts = lay_out(moves.sources, moves.first, how)
        _connect(blocks, moves, parts, chosen, seed)
    blocks.queue(default_concurrency_limit=AT_ONCE, max_size=WAITING)
    return blocks


def _connect(
    blocks: gradio.Blocks, moves: Moves, parts: Parts, chosen: gradio.State, seed: gradio.State
) -> None:
    drawing = [parts.temperature, parts.top_p, parts.draws, parts.diversity, seed]
    looked_at = _with(moves, moves.looked_at)
    captions, told = _with(moves, moves.captions), _with(moves, moves.told)
    quiet: dict[str, Any] = {"show_progress": "hidden", **_PRIVATE}

    def on(triggers: Any, move: Callable, inputs: Sequence, drop: Any = None) -> None:
        """A move that changes what is chosen, and then all that is shown."""
        outputs: list = [chosen, parts.alert]
        how = quiet
        if drop:
            # Read at once, as it came, so that it lies on no disk while others are answered; and
            # the place is empty for the next.
            outputs, how = [*outputs, drop], {"queue": False, "preprocess": False, **quiet}
        tried = _tried(moves, move, len(outputs) - 2)
        changed = gradio.on(triggers, tried, [chosen, *inputs], outputs, **how)
        # The image at once, captions as they come: the first ones wait for programs.
        seen = changed.then(looked_at, chosen, [parts.target, parts.looks], **quiet)
        spoken = seen.then(captions, [chosen, *drawing], parts.captions, **_PRIVATE)
        spoken.then(told, [chosen, parts.rationality], parts.told, **_PRIVATE)

    on(blocks.load, lambda old: old, [])
    on(parts.photo.upload, lambda old, one: moves.upload(one), [parts.photo], parts.photo)
    on(parts.others.upload, moves.add, [parts.others], parts.others)
    which = [parts.source, parts.number]
    on([parts.source.input, parts.number.change], lambda old, *place: moves.choose(*place), which)
    on(parts.alike.click, moves.alike, [])
    on(parts.clear.click, moves.clear, [])
    parts.another.click(moves.another, parts.source, parts.number, **_PRIVATE)
    for slider in (parts.temperature, parts.top_p, parts.draws, parts.diversity):
        slider.input(captions, [chosen, *drawing], parts.captions, **_DRAGGED)
    again = parts.again.click(lambda seed: seed + 1, seed, seed, **_PRIVATE)
    again.then(captions, [chosen, *drawing], parts.captions, **_DRAGGED)
    parts.rationality.input(told, [chosen, parts.rationality], parts.told, **_DRAGGED)


def _tried(moves: Moves, move: Callable, more: int) -> Callable:
    """(chosen, *inputs) -> (chosen, what went wrong, and None for each of `more` other parts)."""

    def tried(chosen: Chosen | None, *inputs: Any) -> tuple:
        old = chosen or moves.begin()
        try:
            found, wrong = move(old, *inputs), ""
        except InputError as error:
            found, wrong = old, str(error)
        return found, shown.alert(wrong), *[None] * more

    return tried


def _with(moves: Moves, answer: Callable) -> Callable:
    """An answer to who has chosen; what was kept too long is begun anew."""

    def answered(chosen: Chosen | None, *inputs: Any) -> Any:
        return answer(chosen or moves.begin(), *inputs)

    return answered
