"""Where did each word look? An image once for every word, dark where the word did not look."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from capjax.report.gallery import data_uri, encoded, untrue
from capjax.report.markup import Html, escape, join

DARK = 0.7  # opacity of the shade over what was looked at least
END = "(end)"


class Looks(NamedTuple):
    """A caption of an image, and where each of its words looked."""

    id: str
    image: np.ndarray  # uint8 [H, W, 3]
    words: Sequence[str]  # [T]
    weights: np.ndarray  # float [T, rows, columns]
    aside: Sequence[float] = ()  # [T]: how much each word looked at nothing, of who can
    false: Collection[int] = ()  # which words make the caption false


def looks(every: Sequence[Looks]) -> Html:
    """Images, each with a small copy a word in the order of the caption."""
    return Html(f'<div class="gallery">{join(map(_one, every))}</div>')


def _one(one: Looks) -> Html:
    _, (width, height), address = encoded(one.image)
    shape = f"aspect-ratio:{width}/{height}"
    figures = []
    for t, (word, weights) in enumerate(zip(one.words, one.weights, strict=True)):
        share = f"{1 - one.aside[t]:.0%} on the image" if len(one.aside) else ""
        shown = f'<span class="share">{share}</span>' if share else ""
        figures.append(
            Html(
                f'<figure class="look"><div role="img" aria-label="where {escape(word)} looked"'
                f' style="{shape};background-image:url({shade(weights)}),var(--photo)"></div>'
                f"<figcaption>{untrue(word) if t in one.false else escape(word)}{shown}"
                "</figcaption></figure>"
            )
        )
    return Html(
        f'<article class="example"><h3><bdi>{escape(one.id)}</bdi></h3>'
        f'<div class="looks" style="--photo:url({address})">{join(figures)}</div></article>'
    )


def shade(weights: np.ndarray) -> str:
    """What darkens an image by how little its places were looked at: the address of a small PNG.

    weights: float [rows, columns]; the largest stays clear, and one of nothing is darkest.
    """
    weights = np.asarray(weights, np.float64)
    share = weights / max(float(weights.max()), 1e-12)
    pixels = np.zeros((*weights.shape, 4), np.uint8)
    pixels[..., 3] = np.round(255 * DARK * (1 - share))
    return data_uri(Image.fromarray(pixels, "RGBA"), "PNG")
