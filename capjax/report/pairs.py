"""What told an image from its distractors? Captions whose words are shaded by how much they do."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from capjax.report.gallery import picture, untrue
from capjax.report.markup import Html, escape, join

FULL = 3.0  # nats from which on a shade is as strong as it gets


class Shaded(NamedTuple):
    """A caption, and how much better each of its words fits the target than its distractors."""

    name: str
    words: Sequence[str]  # [T]
    lifts: Sequence[float]  # [T], in nats
    ends: bool = False  # whether the last word is the end of the caption, and none of its own
    false: Collection[int] = ()  # which words make it false


class Pair(NamedTuple):
    """A target, some of its distractors and what is said to tell it from them."""

    id: str
    image: np.ndarray  # uint8 [H, W, 3]
    distractors: Sequence[tuple[str, np.ndarray]]  # (id, image) of those that are shown
    captions: Sequence[Shaded]
    more: int = 0  # distractors that are not shown


def pairs(every: Sequence[Pair]) -> Html:
    """Targets beside their distractors, with captions beneath whose words are shaded."""
    return Html(f'<div class="gallery">\n{join(map(_pair, every))}\n</div>')


def shaded(caption: Shaded) -> Html:
    """The words of a caption by their lifts: one hue and a solid line beneath where a word fits the
    target better, another and a dotted line where its distractors, stronger up to FULL nats.

    The number is told when a word is pointed at, and to who hears the page. Words that make the
    caption false are marked.
    """
    said = [untrue(w) if i in caption.false else w for i, w in enumerate(caption.words)]
    words = [_word(*pair) for pair in zip(said, caption.lifts, strict=True)]
    if caption.ends:
        words[-1] = Html(f'<span class="ending">{words[-1]}</span>')
    return join(words, " ") if words else Html('<span class="nothing">(no words)</span>')


def legend() -> Html:
    """What the shades mean, from distractors to target."""
    scale = (-FULL, -FULL / 2, 0.0, FULL / 2, FULL)
    marks = join((_swatch(lift) for lift in scale), " ")
    return Html(
        f'<p class="shades"><span>fits the distractors better</span> <span>{marks}</span>'
        " <span>fits the target better (nats)</span></p>"
    )


def _pair(pair: Pair) -> Html:
    seen = [_figure("target", pair.id, pair.image)]
    seen += [_figure("distractor", name, image) for name, image in pair.distractors]
    more = Html(f'<p class="nothing">and {pair.more} more</p>') if pair.more else ""
    captions = join(
        Html(
            f"<dt>{escape(caption.name)}</dt>"
            f'<dd dir="auto">{shaded(caption)} <span class="times" dir="ltr">'
            f"{nats(sum(caption.lifts), 1)}</span></dd>"
        )
        for caption in pair.captions
    )
    return Html(
        f'<article class="pair"><div class="beside">{join(seen)}{more}</div>\n'
        f'<dl class="told">{captions}</dl></article>'
    )


def _figure(role: str, name: str, image: np.ndarray) -> Html:
    return Html(
        f'<figure class="{role}">{picture(image, f"{role} {name}")}'
        f"<figcaption>{role} <bdi>{escape(name)}</bdi></figcaption></figure>"
    )


def nats(value: float, digits: int = 2) -> str:
    """A number of nats with its sign."""
    return f"{round(value, digits) + 0.0:+.{digits}f} nats".replace("-", "\u2212")


def _word(word: str, lift: float) -> Html:
    shown = nats(lift)
    return Html(
        f'<span {_shade(lift)} title="{shown}">{escape(word)}'
        f'<span class="unseen" dir="ltr"> ({shown})</span></span>'
    )


def _swatch(lift: float) -> Html:
    shown = f"{lift:+g}".replace("-", "\u2212") if lift else "0"
    return Html(f"<span {_shade(lift)}>{shown}</span>")


def _shade(lift: float) -> str:
    """The attributes of what is shaded. Nothing of a word's text is in them."""
    strength = min(1.0, abs(lift) / FULL)
    return f'class="word {"lifted" if lift > 0 else "held"}" style="--s:{100 * strength:.0f}%"'
