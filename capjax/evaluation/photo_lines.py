"""How are captions of a photo told: as lines for people, or as a row of JSON?"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capjax.data.sentences import sentences
from capjax.errors import InputError
from capjax.run import Trained

Spoken = Sequence[tuple[str, float]]  # captions with their log-probabilities


def check_paragraphs(run: Trained, workdir: str, wanted: bool) -> None:
    """Raises InputError where paragraphs are wanted of a run that speaks single captions."""
    if wanted and not run.vocabulary.sentences:
        raise InputError(
            f"--paragraph: the run in {workdir} speaks single captions; leave it out, or name a run"
            " that was trained on paragraphs"
        )


def lines(photo: Path, spoken: Spoken, several: bool, paragraph: bool) -> list[str]:
    """A line a caption, behind the photo's name where it is one of several.

    paragraph: under the name of the photo instead, a line a sentence, an empty one in between.
    """
    if not paragraph:
        return [f"{photo}\t{text}" if several else text for text, _ in spoken]
    told: list[str] = [str(photo)]
    for n, (text, _) in enumerate(spoken):
        told += [""] if n else []
        told += [f"  {sentence}" for sentence in sentences(text)] or ["  (no words)"]
    return told


def row(photo: Path, spoken: Spoken, paragraph: bool) -> dict[str, Any]:
    """The photo's name and its captions; paragraph: each with a list of its sentences beside."""
    # The same name whatever the locale: bytes that are no text are surrogates.
    name = os.fsencode(photo).decode("utf-8", "surrogateescape")
    captions = [
        {"caption": text, "log_prob": score} | ({"sentences": sentences(text)} if paragraph else {})
        for text, score in spoken
    ]
    return {"photo": name, "captions": captions}
