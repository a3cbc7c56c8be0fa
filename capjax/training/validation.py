"""How good what a stage has learnt is, on the validation split."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.data.batches import gather
from capjax.decoding.sample import sample
from capjax.evaluation import Captioner, evaluate, evaluator_scores
from capjax.judging import Evaluator
from capjax.metrics import retrieval_ranks
from capjax.objectives import losses
from capjax.objectives.evaluator_training import Noise, three_scores
from capjax.speaker import Params, Speaker, log_probs, scored
from capjax.training.stage_setting import Learnt, Setting, decoding_after


def speaker_validation(
    setting: Setting, there: Learnt, options: Mapping[str, Any]
) -> dict[str, float]:
    """Scores of the validation split's captions, by the stage's decoding."""
    captioner = Captioner(
        setting.speaker,
        there.speaker,
        setting.vocabulary,
        noise=setting.config["noise"],
        judge=(setting.evaluator, there.evaluator)
        if setting.evaluator and there.evaluator is not None
        else None,
        concepts=bool(setting.config.get("concepts")),
    )
    decoding = decoding_after(setting.config, options)
    found = evaluate(captioner, setting.split, setting.images, decoding)
    nll = validation_nll(
        setting.speaker,
        there.speaker,
        setting.validation,
        setting.images,
        setting.config["noise"],
    )
    names = ("cider_d", "bleu_4", "rouge_l", "distinct_words", "true", "identifies")
    return {"val_nll": nll} | {
        f"val_{name}": found.scores[name] for name in names if found.scores.get(name) is not None
    }


def evaluator_validation(setting: Setting, there: Learnt, noise: Noise) -> dict[str, float]:
    """The evaluator's loss and mean r by source on the validation split, a caption an image."""
    assert setting.evaluator is not None
    of = np.asarray(setting.validation["of"])
    first = np.searchsorted(of, np.arange(of[-1] + 1))
    rows = np.stack([first, np.roll(first, -1)], 1)  # mismatched: the next image's caption
    batch, sums = min(200, len(rows)), np.zeros(4)
    for begin in range(0, len(rows), batch):
        part = np.arange(begin, begin + batch)
        part = rows[np.minimum(part, len(rows) - 1)]
        counts = np.arange(begin, begin + batch) < len(rows)
        data = setting.validation | {"taken": {"image": setting.images[of[part[:, 0]]]}}
        told = _judged(setting.speaker, setting.evaluator, noise, there, data, part, counts)
        sums += np.asarray(told)
    names = ("evaluator_loss", "r_real", "r_generated", "r_mismatched")
    return {f"val_{name}": float(x) / len(rows) for name, x in zip(names, sums, strict=True)}


def listener_validation(setting: Setting, there: Learnt) -> dict[str, float]:
    """How well the validation split's images are told by their first captions, at most 1,000.

    -> `val_listener_loss` (nats, of picking the image) and the shares picked first and among ten.
    """
    assert setting.evaluator is not None
    of = np.asarray(setting.validation["of"])
    count = min(1000, of[-1] + 1)
    captions = np.asarray(setting.validation["caption"])[np.searchsorted(of, np.arange(count))]
    images = setting.images[:count]
    scores = evaluator_scores(setting.evaluator, there.evaluator, images, captions)
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
    there: Learnt,
    data: dict,
    rows: jax.Array,
    counts: jax.Array,
) -> jax.Array:
    """Sums over rows [B, 2] of loss and r by source: float32[4]; the draws are always the same."""
    batch = gather("units", data, rows)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(0), rows[:, 0])
    context = noise.context(batch["image"], keys)
    steps = batch["caption"].shape[1]
    drawn = sample(speaker, there.speaker, context, keys, max_len=steps).words
    logits = three_scores(evaluator, there.evaluator, {"image": batch["image"]}, batch, drawn)
    told = jnp.concatenate([jax.vmap(losses.evaluator)(*logits)[None], jax.nn.sigmoid(logits)])
    return jnp.where(counts[None], told, 0).sum(1)


def validation_nll(
    speaker: Speaker,
    params: Params,
    data: dict[str, jax.Array],
    images: np.ndarray,
    noise: int = 0,
) -> float:
    """Nats a word of people's captions, of a split from `caption_arrays`; no dropout, no noise."""
    count, total, words = data["caption"].shape[0], 0.0, 0
    of = np.asarray(data["of"])
    batch = min(500, count)
    for first in range(0, count, batch):
        # The last batch is filled up with captions that count for nothing.
        rows = np.arange(first, first + batch)
        filled = np.minimum(rows, count - 1)
        mine = data | {"taken": {"image": images[of[filled]]}}
        nll, length = _nll(speaker, noise, params, mine, filled, rows < count)
        total, words = total + float(nll), words + int(length)
    return total / words


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
