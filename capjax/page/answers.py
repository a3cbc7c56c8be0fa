"""What the page answers: a picture in, what every run says of it out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from capjax.data import DRAWN, scenes
from capjax.page import shown
from capjax.page.heard import Heard
from capjax.page.pictures import Album, Encoders, Picture, drawn, of_scene
from capjax.page.ready import DISTRACTORS, How, Ready
from capjax.page.shown import Verdict, Way
from capjax.report import Html, variants

FIRST = 3  # captions that are shown of a search
ALONE = 1.0  # the rationality at which distractors do not count
NO_JUDGE = "Nobody ranks them: name an evaluator's or a listener's run with --listener=RUN."
NOBODY = "Nobody listens: name a listener's run with --listener=RUN to see what it would pick."
NOTHING_TO_TELL_FROM = (
    "Drop other photos, or take look-alikes: then captions tell this image from them."
)


class Voice(NamedTuple):
    """A run of the page, and who judges what it says."""

    run: Ready
    ranks: Heard | None  # who chooses among its draws: its own judge, else the listener
    listens: Heard | None  # who picks an image by its words: the listener, else its own judge

    def unable(self, pictures: Sequence[Picture]) -> str:
        """Why it says nothing of pictures; "" where it can."""
        blind = [one.name for one in pictures if self.run.encoder not in one.seen]
        if not blind:
            return ""
        if self.run.takes_photos:
            return f"This run has not seen {blind[0]}; choose it once more."
        return (
            "This run sees features that were made elsewhere, and takes no photos and no scenes:"
            " choose an image of its dataset."
        )


class Answers(NamedTuple):
    """The runs of a page, and what can be looked at."""

    voices: Sequence[Voice]
    encoders: Encoders
    albums: Sequence[Album]

    def captions(self, picture: Picture, how: How) -> Html:
        """What each run says of a picture, in every way."""
        runs = [
            (voice.run.name, voice.unable([picture]) or _ways(voice, picture, how))
            for voice in self.voices
        ]
        return shown.ways(runs)

    def told_apart(self, picture: Picture, others: Sequence[Picture], rationality: float) -> Html:
        """What each run says to tell a picture from others, and which one a listener picks."""
        if not others:
            return shown.hint(NOTHING_TO_TELL_FROM)
        every = [picture, *others]
        runs = [
            (voice.run.name, voice.unable(every) or _verdicts(voice, every, rationality))
            for voice in self.voices
        ]
        return shown.verdicts(runs, self._who_listens())

    def look_alikes(self, picture: Picture) -> list[Picture]:
        """Pictures that are easily mistaken for one: a scene's near twins, else images of which
        people say most the same. None where there is nothing to go by."""
        if picture.twins and self.encoders:
            twins = enumerate(picture.twins[:DISTRACTORS], 1)
            return [of_scene(f"twin {i}", scene, self.encoders) for i, scene in twins]
        photos = [album for album in self.albums if not album.split.truth]
        texts = picture.people or self._first_words(picture)
        if not photos or not texts:
            return []
        rows = photos[0].alike(texts, DISTRACTORS, but=picture.name)
        return [photos[0].picture(row, self.encoders) for row in rows]

    @property
    def first_album(self) -> Album | None:
        """What the page begins with, where that is no scene."""
        if not self.encoders:
            return self.albums[0]
        photos = [album for album in self.albums if not album.split.truth]
        drawn_ones = self.voices[0].run.run.recipe.data.name in DRAWN
        return None if drawn_ones or not photos else photos[0]

    def warm(self) -> None:
        """Compiles what any picture will need."""
        firsts = [album.picture(0, self.encoders) for album in self.albums]
        firsts += [drawn(1, self.encoders)] * bool(self.encoders)
        for voice in self.voices:
            able = [one for one in firsts if not voice.unable([one])]
            if able:
                voice.run.warm(able[0].seen[voice.run.encoder])
            for judge in (voice.ranks, voice.listens):
                if judge and (heard := [one for one in firsts if judge.sees([one])]):
                    judge.scores(heard[:1], ["a"])

    def _who_listens(self) -> str:
        """Whose the bars are."""
        who = list(dict.fromkeys(voice.listens.who for voice in self.voices if voice.listens))
        if not who:
            return NOBODY
        return f"Bars: which image {' and '.join(who)} would pick by the caption alone."

    def _first_words(self, picture: Picture) -> tuple[str, ...]:
        """What the first run that can says of a picture."""
        for voice in self.voices:
            if not voice.unable([picture]):
                return (voice.run.beam(picture.seen[voice.run.encoder])[0][0],)
        return ()


def _ways(voice: Voice, picture: Picture, how: How) -> list[Way]:
    run, image = voice.run, picture.seen[voice.run.encoder]
    draws = [text for text, _ in run.drawn(image, how)]
    found = [
        _searched("Beam search", run.beam(image), picture),
        _searched("Diverse beam search", run.diverse(image, how.diversity), picture),
        _best(voice.ranks, picture, draws),
        _several(f"{len(draws)} draws at temperature {how.temperature:g}", draws, picture),
    ]
    if run.run.recipe.noise:
        noisy = [text for text, _ in run.noisy(image, how.seed)]
        found.append(_several(f"{len(noisy)} noises, the likeliest words of each", noisy, picture))
    return found


def _several(title: str, texts: Sequence[str], picture: Picture) -> Way:
    """Captions of one image beside one another; of scenes, how many are true."""
    if picture.scene is not None:
        title += f": {sum(scenes.holds(text, picture.scene) for text in texts)} true"
    return Way(title, variants(texts))


def _searched(title: str, spoken: Sequence[tuple[str, float]], picture: Picture) -> Way:
    texts = list(dict.fromkeys(text for text, _ in spoken))[:FIRST]
    return Way(title, texts, [_truth(text, picture) for text in texts])


def _best(judge: Heard | None, picture: Picture, draws: Sequence[str]) -> Way:
    """The draws that a judge likes best."""
    title = f"Best of {len(draws)} draws"
    if judge is None:
        return Way(title, (), note=NO_JUDGE)
    if not judge.sees([picture]):
        return Way(title, (), note=f"{judge.who} sees images otherwise, and not this one.")
    scores = judge.scores([picture], draws)[:, 0]
    ranked = dict(sorted(zip(draws, scores.tolist(), strict=True), key=lambda pair: -pair[1]))
    texts = list(ranked)[:FIRST]
    marks = [judge.mark(ranked[text]) | _truth(text, picture) for text in texts]
    return Way(f"{title}, by {judge.who}", texts, marks)


def _verdicts(voice: Voice, every: Sequence[Picture], rationality: float) -> list[Verdict]:
    """What is said of the first picture alone, and to tell it from the others."""
    images = [picture.seen[voice.run.encoder] for picture in every]
    found = []
    for title, at in (("Alone", ALONE), ("Told apart", rationality)):
        told = voice.run.apart(images[0], np.stack(images[1:]), at)
        marks = _truth(told.text, every[0]) | _identifies(told.text, every)
        chances = _chances(voice.listens, every, told.text)
        found.append(Verdict(f"{title} (\u03bb = {at:g})", told.shaded, marks, chances))
    return found


def _chances(judge: Heard | None, every: Sequence[Picture], text: str) -> Sequence[float | None]:
    if judge is None or not judge.sees(every):
        return [None] * len(every)
    return judge.chooses(every, text).tolist()


def _truth(text: str, picture: Picture) -> dict[str, Any]:
    """Whether it is true of a scene, of which that is known."""
    return {} if picture.scene is None else {"true": scenes.holds(text, picture.scene)}


def _identifies(text: str, every: Sequence[Picture]) -> dict[str, Any]:
    """Whether it is true of the first scene alone."""
    drawn_ones = [picture.scene for picture in every if picture.scene is not None]
    if len(drawn_ones) < len(every):
        return {}
    return {"true of it alone": scenes.identifies(text, drawn_ones[0], drawn_ones[1:])}
