"""Where did a captioner that looks at regions look? A section of its run's report."""

import math
from functools import partial
from typing import Any

import jax
import numpy as np

from capjax.data.split import Split
from capjax.evaluation import Evaluation
from capjax.evaluation.lifted_words import false_places, said_words
from capjax.models.attention import where_looked
from capjax.models.generator import CELLS
from capjax.report import Html, Looks, looks, section
from capjax.report.gallery import evenly
from capjax.report.looks import END
from capjax.run import Trained

SHOWN = 6  # images
NOTE = (
    '<p class="note">At every word the captioner looks at the image anew: what is dark it looked at'
    " little, and the clearest place most.{} The last picture is of the end of the caption.</p>"
)
ASIDE = " Beneath a word stands how much of its look fell on the image, and not on what was said."


def looks_section(
    run: Trained, split: Split, images: np.ndarray, found: Evaluation, number: int = SHOWN
) -> Html | None:
    """A few images with the run's caption and where each word looked.

    None where it looks at no regions, where these are no square grid, or where a caption depends
    on noise.
    """
    chosen = evenly(len(found.rows), number)
    cell = CELLS.get(run.recipe.cell)
    if not chosen or run.recipe.noise or not (cell and cell.regional):
        return None
    texts = [found.rows[i].get("captions", [found.rows[i].get("caption")])[0] for i in chosen]
    captions = run.vocabulary.encode_all(texts, run.recipe.decoding["max_len"] + 1)
    read = jax.jit(partial(where_looked, run.speaker))
    context = {"image": images[np.array(chosen)]}
    if run.concepts:
        context["concept"] = np.array([(split.concepts or ())[i] for i in chosen], np.int32)
    weights = np.asarray(read(run.params, context, captions))
    aside = run.recipe.cell == "adaptive"
    regions = weights.shape[-1] - aside
    side = math.isqrt(regions)
    if side**2 != regions:
        return None
    every = []
    for i, ids, looked in zip(chosen, captions, weights, strict=True):
        said = said_words(run.vocabulary, ids)
        words = [*said, END]
        looked = looked[: len(words)]
        false = false_places(split, i, said, run.vocabulary.sentences)
        more: dict[str, Any] = {"false": false}
        if aside:
            more["aside"] = looked[:, -1].tolist()
        grid = looked[:, :regions].reshape(-1, side, side)
        every.append(Looks(split.ids[i], split.image(i), words, grid, **more))
    note = Html(NOTE.format(ASIDE if aside else ""))
    return section("Where each word looked", note, looks(every))
