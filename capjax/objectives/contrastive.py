"""Contrastive learning of a captioner against a reference (Dai & Lin, 2017)."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.agreement import check_batch, check_captions
from capjax.objectives.algorithm import Algorithm, Metrics, follow, row_keys
from capjax.objectives.parts import in_parts, words_of_part
from capjax.settings import ABOVE_0, BELOW_1, FROM_0, FROM_1, OneOf
from capjax.speaker import (
    Context,
    Params,
    Speaker,
    caption_score,
    score,
    shift,
    vocabulary_size,
)

PAIRS = ("both", "positive_only", "negative_only", "introspective")
MASKS = ("shared", "target", "none")


@dataclass(frozen=True, kw_only=True)
class ContrastiveSettings:
    """How `contrastive` trains.

    Raises:
      ValueError: unknown pairs or masks, nu not above 0, or likelihood beside "introspective".
    """

    nu: Annotated[float, ABOVE_0] = (
        1.0  # noise pairs for a true one, as the method sees it; the paper has 1
    )
    # "both"; or, as ablations, "positive_only", "negative_only"; or "introspective", the paper's
    # baseline without a reference: -mean_k ln h with G = ln p(caption | its image) -
    # ln p(caption | another image), K other images of the batch.
    pairs: Annotated[str, OneOf(PAIRS)] = "both"
    # Whose dropout is on. "shared": the target's and the reference's, with the same masks, so that
    # equal models stay equal; "target": the target's alone, as in the authors' code, which then
    # lies nats below the reference on every caption; "none".
    masks: Annotated[str, OneOf(MASKS)] = "shared"
    # Weight of maximum likelihood of the true captions, nats a caption: at equal models their side
    # of the loss pulls like one of 0.5. Not the paper's.
    likelihood: Annotated[float, FROM_0] = 0.0
    # Share of each word of it spread over the vocabulary (Szegedy et al., 2016).
    label_smoothing: Annotated[float, BELOW_1] = 0.0
    average: Annotated[float, BELOW_1] = (
        0.0  # decay of the average of the target's parameters; 0 for none
    )
    # Parts of a device's share that are learnt from one after another (`in_parts`).
    accumulate: Annotated[int, FROM_1] = 1

    def __post_init__(self) -> None:
        if self.pairs not in PAIRS or self.masks not in MASKS or not self.nu > 0:
            raise ValueError(
                f"pairs={self.pairs!r} must be one of {', '.join(PAIRS)}, masks={self.masks!r} one"
                f" of {', '.join(MASKS)}, and nu={self.nu} above 0"
            )
        if self.pairs == "introspective" and self.likelihood:
            raise ValueError(
                f"likelihood={self.likelihood} is for the pairs that have a reference; with"
                " pairs='introspective' set it to 0"
            )


class ContrastiveState(NamedTuple):
    """The state of contrastive learning."""

    params: Params  # the target's
    average: Params  # decaying average of them: what is decoded; () without a decay
    reference: Params
    optimizer: Any
    step: jax.Array  # int32[], updates so far


def contrastive(
    speaker: Speaker,
    reference: Speaker,
    optimizer: optax.GradientTransformation,
    settings: ContrastiveSettings | None = None,
    *,
    replace: int = 0,
    **changes: Any,
) -> Algorithm:
    """Lifts a captioner above a reference on true pairs, and holds it below on mismatched ones.

    Minimises, a mean over the batch, -ln h(true) - mean_k ln(1 - h(mismatched_k)) with
    h = 1 / (1 + nu exp(-G)) and G = ln p - ln q of a whole caption, its end included, by the
    target and the reference (Dai & Lin, 2017, eqs. 5 to 8). Any two Speakers of one vocabulary.

    Args:
      settings: those of `ContrastiveSettings` where None; `changes` to them by name.
      replace: updates after which the reference becomes what the target then is (sec. 3.3); 0: it
        stays as it is.
    Returns:
      Algorithm(init, update): init(key, params, reference_params); a batch is {"image" [B, ...],
      "caption" int32[B, T], "mismatched" int32[B, K, T]}, captions of other images. Metrics:
      `loss` (what is minimised), `h_true`, `h_mismatched` (means), `log_ratio` (mean G of true
      pairs, nats a caption), `nll` (nats a word of true pairs) and the gradient's global norm.
    Raises:
      ValueError: as `ContrastiveSettings`.
    """
    settings = dataclasses.replace(settings or ContrastiveSettings(), **changes)

    def init(key: jax.Array, params: Params, reference_params: Params) -> ContrastiveState:
        params, reference_params = jax.tree.map(jnp.copy, (params, reference_params))
        averaged = jax.tree.map(jnp.copy, params) if settings.average else ()
        step = jnp.zeros((), jnp.int32)
        return ContrastiveState(params, averaged, reference_params, optimizer.init(params), step)

    def update(state: ContrastiveState, batch: Context, key: jax.Array):
        check_pairs(batch)
        own, others = batch["caption"], batch["mismatched"]
        plain = {k: v for k, v in batch.items() if k not in ("caption", "mismatched")}
        introspective = settings.pairs == "introspective"
        if introspective:
            plain = {name: around(x, others.shape[1]) for name, x in plain.items()}
        words = words_of_part(own, settings.accumulate)

        def means(rows: tuple[Context, jax.Array, jax.Array, jax.Array]) -> tuple[Params, Metrics]:
            plain, masks, own, others = rows
            masked = plain | {"dropout": masks}
            context = plain if settings.masks == "none" else masked
            if introspective:
                return introspective_gradient(speaker, state.params, context, own, words, settings)
            reference_context = masked if settings.masks == "shared" else plain
            check_sizes((speaker, state.params), (reference, state.reference), reference_context)
            captions = jnp.concatenate([own[:, None], others], 1)
            q = log_probs_of(reference, state.reference, reference_context, captions)
            return pairs_gradient(speaker, state.params, context, captions, q, words, settings)

        rows = plain, row_keys(key, own.shape[0]), own, others
        gradient, metrics = lax.pmean(in_parts(means, rows, settings.accumulate), "data")
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, change)
        averaged = follow(state.average, params, settings.average)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        step, kept = state.step + 1, state.reference
        if replace:
            new = averaged if settings.average else params
            kept = lax.cond(step % replace == 0, lambda: new, lambda: state.reference)
        return ContrastiveState(params, averaged, kept, opt, step), metrics

    return Algorithm(init, update)


def check_pairs(batch: Context) -> None:
    """Raises ValueError where a batch's true and mismatched captions do not go together."""
    check_batch(batch, "caption", "mismatched")
    own, others = batch["caption"], batch["mismatched"]
    check_captions(own, name="caption")
    check_captions(others, "NKT", "mismatched")
    if others.shape[2] != own.shape[1]:
        raise ValueError(
            f"caption {list(own.shape)} and mismatched {list(others.shape)} do not agree; pad"
            " both to one length"
        )


def check_sizes(
    target: tuple[Speaker, Params], reference: tuple[Speaker, Params], context: Context
) -> None:
    """Raises ValueError where two speakers are seen to know vocabularies of other sizes."""
    sizes = [vocabulary_size(speaker, params, context) for speaker, params in (target, reference)]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            f"the speaker knows {sizes[0]} ids and its reference {sizes[1]}; give two that"
            " share a vocabulary"
        )


def pairs_gradient(
    speaker: Speaker,
    params: Params,
    context: Context,
    captions: jax.Array,
    q: jax.Array,
    words: jax.Array,
    settings: ContrastiveSettings,
) -> tuple[Params, Metrics]:
    """The gradient of the loss against a reference, of one part of a share, and its metrics.

    Args:
      captions: int32[B, 1 + K, T], an image's own first.
      q: float32[B, 1 + K], their log-probabilities by the reference.
      words: float32[], true words of a part (`words_of_part`).
    """
    rows, count = captions.shape[0], captions.shape[1] - 1
    true = 0.0 if settings.pairs == "negative_only" else 1.0
    mismatched = 0.0 if settings.pairs == "positive_only" else -1.0 / count
    sides = jnp.array([true] + count * [mismatched], jnp.float32)
    beside = jnp.stack([q, jnp.broadcast_to(sides[None], q.shape)], -1)
    pull = jnp.where(jnp.arange(1 + count)[:, None] == 0, -settings.likelihood, 0.0)
    nu, smoothing = settings.nu, settings.label_smoothing
    weights = (1 - smoothing) * pull if settings.likelihood else None
    even = smoothing * pull if settings.likelihood and smoothing else None

    def one(log_p: jax.Array, beside: jax.Array) -> jax.Array:
        """A caption's part of the loss; a true one's side is above 0, mismatched ones' below."""
        log_q, side = beside
        return jnp.abs(side) * jax.nn.softplus(-jnp.sign(side) * (log_p - log_q - jnp.log(nu)))

    def loss(params):
        total, p = caption_score(speaker, params, context, captions, one, beside, weights, even)
        return total / rows, p

    (value, p), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    h = jax.nn.sigmoid(p - q - jnp.log(nu))
    return gradient, {
        "loss": value,
        "h_true": h[:, 0].mean(),
        "h_mismatched": h[:, 1:].mean(),
        "log_ratio": (p - q)[:, 0].mean(),
        "nll": -p[:, 0].sum() / words,
    }


def introspective_gradient(
    speaker: Speaker,
    params: Params,
    context: Context,
    own: jax.Array,
    words: jax.Array,
    settings: ContrastiveSettings,
) -> tuple[Params, Metrics]:
    """The gradient where captions int32[B, T] are told from by their own and other images.

    Args:
      context: of each caption 1 + K images, its own first: [B, 1 + K, ...], dropout [B].
      words: as of `pairs_gradient`.
    """
    each = next(x.shape[1] for name, x in context.items() if name != "dropout")
    contexts = {
        name: jnp.repeat(x, each, 0) if name == "dropout" else x.reshape(-1, *x.shape[2:])
        for name, x in context.items()
    }
    captions = jnp.repeat(own, each, 0)[:, None]

    def loss(params):
        p = log_probs_of(speaker, params, contexts, captions).reshape(-1, each)
        ratio = p[:, :1] - p[:, 1:] - jnp.log(settings.nu)
        return jax.nn.softplus(-ratio).mean(), (p, ratio)

    (value, (p, ratio)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    return gradient, {
        "loss": value,
        "h_true": jax.nn.sigmoid(ratio).mean(),
        "log_ratio": ratio.mean(),
        "nll": -p[:, 0].sum() / words,
    }


def around(x: jax.Array, count: int) -> jax.Array:
    """Each image of a device's share and `count` others of it: [B, ...] -> [B, 1 + count, ...]."""
    if 1 + count > x.shape[0]:
        raise ValueError(
            f"mismatched has {count} captions, and of {x.shape[0]} images a device there are"
            f" {x.shape[0] - 1} others; give more images or fewer captions"
        )
    return jnp.stack([jnp.roll(x, -k, 0) for k in range(1 + count)], 1)


def log_probs_of(
    speaker: Speaker, params: Params, context: Context, captions: jax.Array
) -> jax.Array:
    """Log-probabilities of whole captions int32[B, K, T], ends included: float32[B, K]."""
    return score(speaker, params, context, shift(captions), captions)[0].sum(-1)
