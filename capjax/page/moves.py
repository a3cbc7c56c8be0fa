"""What does each move on the page change, and what is shown then?"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from capjax.errors import InputError
from capjax.page import shown
from capjax.page.answers import Answers
from capjax.page.pictures import Picture, drawn
from capjax.page.ready import DISTRACTORS, How
from capjax.page.uploads import Uploads
from capjax.report import Html

SCENES = "drawn scenes"
SEEDS = 10**6  # scenes that can be asked for

Upload = Mapping[str, Any]  # what gradio tells of an uploaded file


class Chosen(NamedTuple):
    """What a visitor looks at."""

    picture: Picture
    others: tuple[Picture, ...] = ()
    by_hand: bool = False  # whether the visitor gave the others


class Moves:
    """Functions of what a visitor has chosen, which the server keeps for each."""

    def __init__(self, answers: Answers, uploads: Uploads) -> None:
        self.answers, self.uploads = answers, uploads
        self.albums = {album.name: album for album in answers.albums}

    @property
    def sources(self) -> list[str]:
        """What pictures can be chosen from."""
        return [SCENES] * bool(self.answers.encoders) + list(self.albums)

    @property
    def first(self) -> tuple[str, int]:
        """The source and the number of what the page begins with."""
        album = self.answers.first_album
        return (album.name, 0) if album else (SCENES, 1)

    def begin(self) -> Chosen:
        return self.choose(*self.first)

    def upload(self, upload: Upload) -> Chosen:
        return self._among_its_like(self.uploads.take(upload))

    def choose(self, source: str, number: float | None) -> Chosen:
        """Raises InputError where there is no such picture."""
        row, last = int(number or 0), self._count(source) - 1
        if not 0 <= row <= last:
            raise InputError(f"{source}: there is no number {row}; give one from 0 to {last}")
        make = drawn if source == SCENES else self.albums[source].picture
        return self._among_its_like(make(row, self.answers.encoders))

    def another(self, source: str) -> int:
        """The number of a picture by chance."""
        return random.randrange(self._count(source))

    def add(self, chosen: Chosen, uploads: Sequence[Upload]) -> Chosen:
        """Other photos beside those that were dropped before, in the place of look-alikes."""
        pictures = [self.uploads.take(upload) for upload in uploads]
        others = (*chosen.others * chosen.by_hand, *pictures)
        if len(others) > DISTRACTORS:
            raise InputError(
                f"{len(others)} photos are too many to tell an image from here: drop up to"
                f" {DISTRACTORS}, or take the ones before away by \u201cNone\u201d"
            )
        return chosen._replace(others=others, by_hand=True)

    def clear(self, chosen: Chosen) -> Chosen:
        return Chosen(chosen.picture)

    def alike(self, chosen: Chosen) -> Chosen:
        """Raises InputError where nothing is known to be like it."""
        found = self._among_its_like(chosen.picture)
        if not found.others:
            raise InputError(
                "nothing here is known to be like this image: drop photos that it is to be told"
                " from"
            )
        return found

    def looked_at(self, chosen: Chosen) -> tuple[Html, Html]:
        """The image, and all pictures that bars point at."""
        return shown.target(chosen.picture), shown.looks(chosen.picture, chosen.others)

    def captions(self, chosen: Chosen, *how: Any) -> Html:
        return self.answers.captions(chosen.picture, How(*how))

    def told(self, chosen: Chosen, rationality: float) -> Html:
        return self.answers.told_apart(chosen.picture, chosen.others, rationality)

    def _count(self, source: str) -> int:
        return SEEDS if source == SCENES else len(self.albums[source].split.ids)

    def _among_its_like(self, picture: Picture) -> Chosen:
        return Chosen(picture, tuple(self.answers.look_alikes(picture)))
