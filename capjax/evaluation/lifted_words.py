"""Which words tell an image from its distractors? A page of both, with its captions by words."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from capjax.data.scenes import false_words_of
from capjax.data.split import Split
from capjax.data.vocabulary import STOP, Vocabulary
from capjax.decoding.suppressor import check_pair
from capjax.decoding.telling_apart import Teller, tell_apart
from capjax.evaluation.distractors import Distractors, shown
from capjax.files.whole import whole
from capjax.report import Html, Pair, Shaded, legend, page, pairs, section, untrue_note, write_page
from capjax.report.gallery import evenly
from capjax.report.looks import END as THE_END
from capjax.run import Trained
from capjax.speaker import END, Context, Params, Speaker, log_probs

SHOWN, BESIDE = 6, 4  # images, and distractors of each
RATIONALITIES = (1.0, 0.7, 0.5, 0.3)
NOTE = (
    '<p class="note">The captioner never sees a target beside its distractors: at a rationality'
    " \u03bb below 1 it says of the target what does not fit them (Vedantam et al., 2017). A"
    " word's shade is its lift, log p(w | target) less the mean of log p(w | distractor), after the"
    " same words; emitter-suppressor values it at \u03bb log p(w | target) + (1 \u2212 \u03bb)"
    " lift. At \u03bb = 1, where nothing is lifted or held down, it shows what there is to hold"
    " down. Behind each caption stands the sum. Point at a word for its number.</p>"
)


def lifts(
    speaker: Speaker, params: Params, target: Context, distractors: Context, captions: jax.Array
) -> jax.Array:
    """By how much each word of captions, and their end, fits a target better than its distractors.

    log p(w | target, prefix) - mean_m log p(w | distractor_m, prefix). What emitter-suppressor
    scores is rationality log p(w | target) + (1 - rationality) times it (Vedantam et al., 2017).

    Args:
      target: a context of N rows.
      distractors: the same with M distractors of each, leaves [N, M, ...].
      captions: int32[N, T].
    Returns:
      float32[N, T] in nats; 0 after the end.
    Raises:
      ValueError: contexts that do not fit.
    """
    check_pair(target, distractors, 1)
    number = jax.tree.leaves(distractors)[0].shape[1]

    def one(m: jax.Array) -> jax.Array:
        return log_probs(speaker, params, jax.tree.map(lambda x: x[:, m], distractors), captions)

    held = lax.map(one, jnp.arange(number)).mean(0)
    return log_probs(speaker, params, target, captions) - held


def pairs_section(
    run: Trained,
    split: Split,
    images: np.ndarray,
    distractors: Distractors,
    *,
    decoding: Mapping[str, Any] | None = None,
    teller: Teller | None = None,
    rationalities: Sequence[float] = RATIONALITIES,
    number: int = SHOWN,
) -> Html | None:
    """A few images beside their distractors, with what tells them apart word by word.

    Args:
      images: [N, ...], the split's images as the speaker takes them.
      distractors: of each.
      decoding: as in `tell_apart`, else the run's; of several captions the first is shown.
      teller: who tells them apart, at each of the rationalities.
    Returns:
      None where there are no images, or captions are drawn: a page would show others than those
      that were evaluated.
    """
    decoding = run.recipe.decoding if decoding is None else decoding
    teller = teller or Teller()
    pool = images if distractors.pool is None else distractors.pool
    chosen = evenly(len(distractors.rows), number)
    if not chosen or decoding["method"] == "sample":
        return None
    near = distractors.rows[chosen]  # [n, M]
    n, m = near.shape
    seen, noise = np.asarray(images[chosen]), run.recipe.noise
    around = np.asarray(pool[near.ravel()]).reshape(n, m, *seen.shape[1:])
    speak = partial(
        tell_apart, run.speaker, run.params, seen, near, decoding, pool=pool, noise=noise
    )
    read = jax.jit(partial(lifts, run.speaker))
    target, rest = without_noise(seen, (n,), noise), without_noise(around, (n, m), noise)
    said: list[list[Shaded]] = [[] for _ in chosen]
    for rationality in rationalities:
        name = f"\u03bb = {rationality:g}"
        batches = speak(teller=teller._replace(rationality=rationality))
        words = np.concatenate([words[:, 0] for words, _ in batches])  # [n, T]
        lifted = np.asarray(read(run.params, target, rest, words))
        for i, captions, ids, values in zip(chosen, said, words, lifted, strict=True):
            shades = shaded_words(run.vocabulary, ids, values)
            said_words = shades.words[:-1] if shades.ends else shades.words
            false = false_places(split, i, said_words, run.vocabulary.sentences)
            captions.append(shades._replace(name=name, false=false))
    every = [
        Pair(
            split.ids[i],
            split.image(i),
            [shown(split, distractors, i, place) for place in range(min(m, BESIDE))],
            captions,
            max(0, m - BESIDE),
        )
        for i, captions in zip(chosen, said, strict=True)
    ]
    notes = [Html(NOTE), *([untrue_note()] if split.truth is not None else []), legend()]
    return section("Targets and their distractors", *notes, pairs(every))


def shaded_words(vocabulary: Vocabulary, ids: np.ndarray, values: np.ndarray) -> Shaded:
    """The words of a caption, and its end where there is one, each with its lift.

    Args:
      ids: int32[T]; values: float[T], of `lifts`.
    """
    words = said_words(vocabulary, ids)
    ends = len(words) < len(ids)
    words += [THE_END] if ends else []
    return Shaded("", words, values[: len(words)].tolist(), ends)


def said_words(vocabulary: Vocabulary, ids: np.ndarray) -> list[str]:
    """The words of a caption int32[T] before its end; of a paragraph, with a stop at each 2."""
    return [vocabulary.words[i] for i in takewhile(lambda i: i != END, ids.tolist())]


def false_places(
    split: Split, image: int, words: Sequence[str], paragraph: bool
) -> tuple[int, ...]:
    """Which words make a caption false of an image; of a paragraph, sentence by sentence.

    paragraph: whether full stops are among the words. Of its sentences that state nothing every
    word is false.
    """
    false = false_words_of(split, image, " ".join(words))
    if false is None:
        false = tuple(range(len(words))) if paragraph else ()
    return tuple(n for n in false if words[n] != STOP)


def write_pairs(
    path: Path,
    title: str,
    run: Trained,
    split: Split,
    images: np.ndarray,
    distractors: Distractors,
    **options: Any,
) -> Path | None:
    """Writes `pairs_section` as a page of its own, one file that needs nothing else.

    Args:
      run, split, images, distractors, options: as of `pairs_section`.
    Returns:
      The path; None where there is no such section.
    """
    found = pairs_section(run, split, images, distractors, **options)
    if not found:
        return None
    with whole(path) as draft:
        write_page(draft, page(title, [found]))
    return path


def without_noise(images: Any, lead: tuple[int, ...], noise: int) -> Context:
    """A context of images [*lead, ...] that is spoken of from zero noise, as by `tell_apart`."""
    context = {"image": jnp.asarray(images)}
    return context | ({"noise": jnp.zeros((*lead, noise))} if noise else {})
