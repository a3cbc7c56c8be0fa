"""How good what a stage has learnt is, on the validation split."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.data.batches import gather
from capjax.decoding.noise import Noise
from capjax.decoding.sample import sample
from capjax.evaluation import Captioner, evaluate, evaluator_scores
from capjax.judging import Evaluator
from capjax.metrics import retrieval_ranks
from capjax.objectives import losses
from capjax.objectives.evaluator_training import three_scores
from capjax.parallel import shared_out
from capjax.speaker import Params, Speaker, log_probs, scored
from capjax.training.stage import Learning, Learnt, Run

MEASURED = (  # those that there are
    *("cider_d", "bleu_4", "rouge_l", "distinct_words", "true", "identifies"),
    *("true_sentences", "covered", "contradictions", "repeated_trigrams"),
)
SAID = "said"  # beside a validation's scores: the rows of what was said, to be told, not logged


def by_quality(scores: Mapping[str, float]) -> float:
    """Keeps the validation with the best captions; of a single image there is no CIDEr-D."""
    return scores.get("val_cider_d", scores["val_rouge_l"])


def last_is_best(scores: Mapping[str, float]) -> float:
    """Keeps the last, where nothing that is measured on the way tells what is best."""
    return float("inf")


def speaker_validation(run: Run, learnt: Learnt, settings: Learning) -> dict[str, Any]:
    """Scores of the validation split's captions, by the stage's decoding, and under SAID what they
    are of, an image a row."""
    judge = (
        (run.evaluator, learnt.evaluator)
        if run.evaluator and learnt.evaluator is not None
        else None
    )
    part, noise = run.validation, run.recipe.noise
    captioner = Captioner(
        run.speaker,
        learnt.speaker,
        run.vocabulary,
        noise=noise,
        judge=judge,
        concepts=run.recipe.concepts,
    )
    found = evaluate(captioner, part.split, part.images, settings.decoding_of(run.recipe))
    nll = validation_nll(run.speaker, learnt.speaker, part.arrays, part.images, noise)
    measured = {
        f"val_{name}": found.scores[name] for name in MEASURED if found.scores.get(name) is not None
    }
    return {"val_nll": nll, **measured, SAID: found.rows}


def evaluator_validation(run: Run, learnt: Learnt, noise: Noise) -> dict[str, float]:
    """The evaluator's loss and mean r by source on the validation split, a caption an image."""
    assert run.evaluator is not None
    validation, images = run.validation.arrays, run.validation.images
    of = np.asarray(validation["of"])
    first = np.searchsorted(of, np.arange(of[-1] + 1))
    rows = np.stack([first, np.roll(first, -1)], 1)  # mismatched: the next image's caption
    batch = min(200, len(rows))

    def one(begin: int) -> np.ndarray:
        part = np.arange(begin, begin + batch)
        part = rows[np.minimum(part, len(rows) - 1)]
        counts = np.arange(begin, begin + batch) < len(rows)
        data = validation | {"taken": {"image": images[of[part[:, 0]]]}}
        return np.asarray(_judged(run.speaker, run.evaluator, noise, learnt, data, part, counts))

    sums = sum(shared_out(one, range(0, len(rows), batch)), np.zeros(4))
    names = ("evaluator_loss", "r_real", "r_generated", "r_mismatched")
    return {f"val_{name}": float(x) / len(rows) for name, x in zip(names, sums, strict=True)}


def listener_validation(run: Run, learnt: Learnt) -> dict[str, float]:
    """How well the validation split's images are told by their first captions, at most 1,000.

    -> `val_listener_loss` (nats, of picking the image) and the shares picked first and among ten.
    """
    assert run.evaluator is not None
    of = np.asarray(run.validation.arrays["of"])
    count = min(1000, of[-1] + 1)
    captions = np.asarray(run.validation.arrays["caption"])
    captions = captions[np.searchsorted(of, np.arange(count))]
    images = run.validation.images[:count]
    scores = evaluator_scores(run.evaluator, learnt.evaluator, images, captions, shared_out)
    own = np.diagonal(scores)
    ranks = np.asarray(retrieval_ranks(scores))
    return {
        "val_listener_loss": float((np.logaddexp.reduce(scores, 1) - own).mean()),
        **{f"val_listener_r{k}": float((ranks <= k).mean()) for k in (1, 10)},
    }


@partial(jax.jit, static_argnums=(0, 1, 2))
def _judged(
    speaker: Speaker,
    evaluator: Evaluator,
    noise: Noise,
    learnt: Learnt,
    data: dict,
    rows: jax.Array,
    counts: jax.Array,
) -> jax.Array:
    """Sums over rows [B, 2] of loss and r by source: float32[4]; the draws are always the same."""
    batch = gather("units", data, rows)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), rows[:, 0])
    context = noise.context(batch["image"], keys)
    steps = batch["caption"].shape[1]
    drawn = sample(speaker, learnt.speaker, context, keys, max_len=steps).words
    logits = three_scores(evaluator, learnt.evaluator, batch | {"drawn": drawn})
    each = jnp.concatenate([jax.vmap(losses.evaluator)(*logits)[None], jax.nn.sigmoid(logits)])
    return jnp.where(counts[None], each, 0).sum(1)


def validation_nll(
    speaker: Speaker,
    params: Params,
    data: dict[str, jax.Array],
    images: np.ndarray,
    noise: int = 0,
) -> float:
    """Nats a word of people's captions, of a split from `caption_arrays`; no dropout, no noise."""
    count = data["caption"].shape[0]
    of = np.asarray(data["of"])
    batch = min(500, count)

    def one(first: int) -> tuple[float, int]:
        # The last batch is filled up with captions that count for nothing.
        rows = np.arange(first, first + batch)
        filled = np.minimum(rows, count - 1)
        mine = data | {"taken": {"image": images[of[filled]]}}
        nll, length = _nll(speaker, noise, params, mine, filled, rows < count)
        return float(nll), int(length)

    sums = list(shared_out(one, range(0, count, batch)))
    return sum(nll for nll, _ in sums) / sum(length for _, length in sums)


@partial(jax.jit, static_argnums=(0, 1))
def _nll(
    speaker: Speaker,
    noise: int,
    params: Params,
    data: dict,
    rows: jax.Array,
    counts: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    batch = gather("captions", data, rows)
    captions = batch.pop("caption")
    if noise:
        batch["noise"] = jnp.zeros((captions.shape[0], noise))
    log_p = log_probs(speaker, params, batch, captions)
    real = scored(captions) & counts[:, None]
    return -jnp.where(real, log_p, 0).sum(), real.sum()
