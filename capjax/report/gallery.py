"""What does the model say of a picture, and what do people? Images with captions side by side."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from capjax.report.markup import Html, escape, join

DRAWN = 96  # pixels; an image of no more than that a side was drawn, not photographed
LARGEST = 320  # pixels of a photo's longer side in the page: twice what is shown
QUALITY = 82  # of JPEG
SHOWN = 192  # pixels of the page that a drawn image fills, in whole multiples of its own


class Example(NamedTuple):
    """An image and its captions."""

    id: str
    image: np.ndarray  # uint8 [H, W, 3]
    captions: Sequence[tuple[str, Sequence[str]]]  # ("model", texts), ("people", texts), ...
    notes: Mapping[str, Any] = {}  # such as {"true": True, "cider_d": 0.8}; shown beneath the image


def gallery(examples: Sequence[Example]) -> Html:
    """Images, each beside its captions: a column for everyone who wrote some."""
    if not examples:
        return Html('<p class="nothing">There are no images to show.</p>')
    return Html(f'<div class="gallery">\n{join(_example(example) for example in examples)}\n</div>')


def caption_list(texts: Sequence[str]) -> Html:
    """Captions below each other; text is escaped, Html (shaded words, say) stays as it is."""
    if not texts:
        return Html('<p class="nothing">no caption</p>')
    # dir=auto sets apart what is written from right to left, and what only pretends to be.
    lines = join(Html(f'<li dir="auto">{_words(text)}</li>') for text in texts)
    return Html(f'<ol class="captions">{lines}</ol>')


def marked(text: str, marks: Mapping[str, Any], false: Collection[int] = ()) -> Html:
    """A caption and facts about it behind it, as those about an image are shown beneath one.

    false: which of its words, of `text.split()`, make it false.
    """
    words = enumerate(text.split())
    shown = join((untrue(word) if i in false else word for i, word in words), " ")
    shown = shown if false else _words(text)
    if not marks:
        return shown
    notes = join(_note(name, value, "span") for name, value in marks.items())
    return Html(f'{shown} <span class="marks">{notes}</span>')


def untrue(word: str) -> Html:
    """A word that makes a caption false, also for who hears the page."""
    return Html(f'<span class="false">{escape(word)}<span class="unseen"> (false)</span></span>')


def untrue_note(more: str = "") -> Html:
    """What the marks of `untrue` mean; more: a sentence behind."""
    told = f"Words that make a caption false of its image are marked: {untrue('so')}."
    return Html(f'<p class="note">{told}{escape(f" {more}" if more else "")}</p>')


def variants(
    texts: Sequence[str], false: Callable[[str], Collection[int] | None] = lambda text: ()
) -> list[Html]:
    """Captions drawn of one image, so that where they differ is seen at once.

    Equal ones become one with their number, most frequent first. Words that all captions have are
    pale, those of at most half of them stand out.

    false: which words of a caption, of its `split()`, make it false.
    """
    split = [tuple(text.split()) for text in texts]
    having = Counter(word for words in split for word in set(words))

    def shown(word: str, wrong: bool) -> Html:
        inner = untrue(word) if wrong else escape(word)
        if having[word] == len(split):
            return Html(f'<span class="shared">{inner}</span>')
        return Html(f"<b>{inner}</b>") if 2 * having[word] <= len(split) else inner

    def line(words: Sequence[str]) -> Html:
        wrong = false(" ".join(words)) or ()
        line = join((shown(word, i in wrong) for i, word in enumerate(words)), " ")
        return line if words else _words("")

    return counted(split, line)


def counted(
    captions: Sequence[tuple[str, ...]], line: Callable[[tuple[str, ...]], Html]
) -> list[Html]:
    """Captions as their parts, each that is different once with its number, most frequent first."""
    return [
        Html(line(parts) + (f' <span class="times">\u00d7{number}</span>' if number > 1 else ""))
        for parts, number in Counter(captions).most_common()
    ]


def picture(image: np.ndarray, alt: str) -> Html:
    """An image inside the page: exact PNG up to DRAWN pixels a side, else JPEG up to LARGEST.

    Arguments: image, uint8 [H, W, 3]; alt, what it shows, for those who cannot see it.

    Raises ValueError for another shape or dtype.
    """
    look, (width, height), address = encoded(image)
    return Html(
        f'<img class="{look}" width="{width}" height="{height}" decoding="async" '
        f'alt="{escape(alt)}" src="{address}">'
    )


def encoded(image: np.ndarray) -> tuple[str, tuple[int, int], str]:
    """An image as a page has it: ("drawn" or "photo", (width, height) in pixels of the page, its
    data URI); see `picture`."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(f"an image must be uint8 [H, W, 3], not {image.dtype} {image.shape}")
    made = Image.fromarray(image)
    if max(made.size) <= DRAWN:
        look, scale, address = "drawn", SHOWN // max(made.size), data_uri(made, "PNG")
    else:
        look, scale = "photo", 1
        made.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        address = data_uri(made, "JPEG", quality=QUALITY)
    width, height = (scale * side for side in made.size)
    return look, (width, height), address


def data_uri(image: Image.Image, kind: str, **options: Any) -> str:
    """A Pillow image as PNG or JPEG inside an address."""
    file = io.BytesIO()
    image.save(file, kind, optimize=True, **options)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"


def _example(example: Example) -> Html:
    columns = join(
        Html(f"<div><h4>{escape(who)}</h4>{caption_list(texts)}</div>")
        for who, texts in example.captions
    )
    notes = join(_note(name, value) for name, value in example.notes.items())
    note_list = Html(f'<ul class="notes">{notes}</ul>') if notes else ""
    return Html(
        f'<article class="example"><div class="seen">'
        f"{picture(example.image, f'image {example.id}')}"
        f"<div><h3><bdi>{escape(example.id)}</bdi></h3>{note_list}</div></div>\n"
        f'<div class="said">{columns}</div></article>'
    )


def _words(text: str) -> Html:
    return escape(text) if text.strip() else Html('<span class="nothing">(no words)</span>')


def _note(name: str, value: Any, tag: str = "li") -> Html:
    """A fact: yes and no as a sign, fractions with three decimals."""
    if isinstance(value, bool | np.bool_):
        word, sign = ("yes", "\u2713") if value else ("no", "\u2717")
        shown = f'<span role="img" aria-label="{word}">{sign}</span>'
        return Html(f'<{tag} class="{word}"><bdi>{escape(name)}</bdi> {shown}</{tag}>')
    text = f"{value:.3f}" if isinstance(value, float | np.floating) else str(value)
    return Html(f"<{tag}><bdi>{escape(name)}</bdi> {escape(text)}</{tag}>")


def evenly(count: int, number: int) -> list[int]:
    """At most `number` of so many, from the first to the last."""
    return np.linspace(0, count - 1, min(number, count)).astype(int).tolist()
