"""What does a person see of a run while it learns? Its stages, how long it takes, what it says."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from capjax.data import scenes
from capjax.data.sentences import sentences
from capjax.data.split import Split
from capjax.parallel import processes
from capjax.report import evenly
from capjax.terminal.progress import Progress, about, write
from capjax.training.plan import Plan
from capjax.training.stage import Run
from capjax.training.time_left import TimeLeft

WATCHED = 3  # images whose captions are told after every validation
WIDE = 72  # characters of a caption that are told


def watched(split: Split) -> list[int]:
    """The images of a split that a person watches: where they stand."""
    return evenly(len(split.ids), WATCHED)


class Telling:
    """Tells of a run on the terminal; of several processes the first does.

    Args:
      splits: how many are evaluated at the end.
    """

    def __init__(self, run: Run, plan: Plan, splits: int):
        self.run, self.plan, self.first = run, plan, processes.first()
        split = run.training.split
        counts = len(split.ids), run.training.arrays["of"].shape[0]
        last = len(plan.stages) - 1
        self.time = TimeLeft(
            [
                stage.settings.ahead(*counts, run.recipe.validate_every)._replace(
                    evaluations=splits if index == last else 1
                )
                for index, stage in enumerate(plan.stages)
            ]
        )
        self._named = False
        self._label, self._done, self._loss, self._speed = "", 0, 0.0, 0.0

    def begins(self, index: int, done: int, steps: int) -> None:
        """A stage begins, or goes on after so many steps: says which it is and what it learns."""
        stage, number = self.plan.stages[index], len(self.plan.stages)
        which = f"stage {index + 1} of {number}, {stage.name}" if number > 1 else stage.name
        learns = f": {stage.settings.learns}" if stage.settings.learns else ""
        if self.first and done < steps:
            self._watches()
            write(f"{which}{learns}, {steps - done:,} steps", sys.stderr)
        self._label = f"{index + 1}/{number} {stage.name}" if number > 1 else stage.name
        self._done, self._loss, self._speed = done, 0.0, 0.0
        self.time.begins(index, done)

    def progress(self, steps: int) -> Progress:
        """How far the stage that has begun is, of so many steps."""
        return Progress(
            steps,
            self._label,
            "steps",
            done=self._done,
            shown=self.first,
            beside=self._beside,
        )

    def measured(self, loss: float, speed: float) -> None:
        """The loss, and people's captions read a second, of the last few steps."""
        self._loss, self._speed = loss, speed

    def _beside(self) -> str:
        seconds = self.time.seconds()
        told = [f"loss {self._loss:.3f}, {self._speed:,.0f} captions/s"] if self._speed else []
        if seconds is not None:
            told.append(f"{about(seconds)} left" + " in all" * (len(self.plan.stages) > 1))
        return ", ".join(told)

    def _watches(self) -> None:
        """Names the images to watch, once, and what people say of them."""
        if self._named or all(stage.settings.keeps_speaker for stage in self.plan.stages):
            return
        self._named = True
        split = self.run.validation.split
        write("images to watch, and what people say of them:", sys.stderr)
        said = [
            line for i in watched(split) for line in self._lines(i, max(split.captions[i], key=len))
        ]
        for name, text in _aligned(said):
            write(f"    {name}  {text}".rstrip(), sys.stderr)

    def validated(
        self, name: str, step: int, scores: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """What a validation gave, and what is now said of the images that are watched.

        rows: of the validation split's images, in its order; none where nothing was said.
        """
        if not self.first:
            return
        shown = "  ".join(
            f"{key.removeprefix('val_')} {value:.3f}"
            if isinstance(value, float)
            else f"{key.removeprefix('val_')} {value}"
            for key, value in scores.items()
        )
        write(f"{name} step {step}: {shown}")
        split = self.run.validation.split
        said = []
        for i in watched(split) if rows else ():
            spoken = (rows[i].get("captions") or [rows[i]["caption"]])[0]
            said += [(*line, _untrue(split, i, line[1])) for line in self._lines(i, spoken)]
        for one in _aligned(said):
            write(f"    {'  '.join(one).rstrip()}")

    def _lines(self, image: int, text: str) -> list[tuple[str, str]]:
        """A caption behind its image's name; of a paragraph a line a sentence."""
        parts = sentences(text) if self.run.vocabulary.sentences else [text]
        name = self.run.validation.split.ids[image]
        return [("" if n else name, part) for n, part in enumerate(parts or [""])]


def _untrue(split: Split, image: int, text: str) -> str:
    """What is wrong with a caption of a generated image; "" where nothing is."""
    wrong = scenes.false_words_of(split, image, text)
    if wrong is None:
        return "(no sentence about a scene)"
    words = text.split()
    return f"(false: {', '.join(words[i] for i in wrong)})" if wrong else ""


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Cells as one line each can hold them, all of a column equally wide."""
    cells = [[_in_a_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        tuple(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells
    ]


def _in_a_line(text: str) -> str:
    """What is printed of a text that may hold anything."""
    plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return plain if len(plain) <= WIDE else f"{plain[: WIDE - 3]}..."
