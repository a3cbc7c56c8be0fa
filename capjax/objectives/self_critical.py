"""Self-critical training of a captioner for any reward of whole captions (Rennie et al., 2017)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.agreement import check_batch
from capjax.decoding.noise import Noise
from capjax.decoding.sample import greedy, sample
from capjax.objectives.algorithm import Algorithm, Metrics, drawn_metrics, follow, row_keys
from capjax.objectives.policy import drawn_gradient
from capjax.objectives.rewards import Reward
from capjax.settings import BELOW_1, FROM_0, FROM_1, OneOf
from capjax.speaker import Context, Params, Speaker, repeated, scored

BASELINES = ("leave_one_out", "greedy")

Rewards = Mapping[str, tuple[float, Reward]]  # by name, (weight, reward) each


@dataclass(frozen=True, kw_only=True)
class SelfCriticalSettings:
    """How `self_critical` trains.

    Raises:
      ValueError: an unknown baseline, or one sample where others are the baseline.
    """

    samples: Annotated[int, FROM_1] = 5  # captions drawn of an image, each with noise of its own
    # Subtracted from the reward: "leave_one_out", the mean reward of an image's other samples;
    # "greedy", the reward of its greedy caption, as in the paper.
    baseline: Annotated[str, OneOf(BASELINES)] = "leave_one_out"
    likelihood: Annotated[float, FROM_0] = (
        0.0  # weight of maximum likelihood of the batch's captions, nats a word
    )
    dropout: bool = False  # whether captions are drawn and learnt with it, the same masks for both
    average: Annotated[float, BELOW_1] = (
        0.0  # decay of the average of the speaker's parameters; 0 for none
    )
    # Parts of a device's share that are learnt from one after another (`in_parts`), but drawn and
    # rewarded all at once.
    accumulate: Annotated[int, FROM_1] = 1

    def __post_init__(self) -> None:
        if self.baseline not in BASELINES:
            raise ValueError(f"baseline={self.baseline!r} must be one of {', '.join(BASELINES)}")
        if self.samples < (2 if self.baseline == "leave_one_out" else 1):
            raise ValueError(
                f"samples={self.samples}: the mean of an image's others needs 2 or more"
            )


class SelfCriticalState(NamedTuple):
    """The state of self-critical training."""

    params: Params
    average: Params  # decaying average of them: what is decoded; () without a decay
    optimizer: Any


def self_critical(
    speaker: Speaker,
    optimizer: optax.GradientTransformation,
    rewards: Rewards,
    settings: SelfCriticalSettings | None = None,
    *,
    max_len: int = 20,
    noise: Noise = Noise(),  # noqa: B008
    **changes: Any,
) -> Algorithm:
    """Raises the expected reward of drawn captions by policy gradient (Rennie et al., 2017, eq. 7).

    One update draws captions, rewards them and learns from them, all on the device; of the words'
    probabilities nothing is kept for the backward pass.

    Args:
      rewards: by name, (weight, reward) each; the reward of a caption is their weighted sum.
      settings: those of `SelfCriticalSettings` where None; `changes` to them by name.
      max_len: words of a drawn caption at most.
      noise: what the speaker's noise is drawn from.
    Returns:
      Algorithm(init, update): init(key, params); a batch is {"image" [B, ...]}, what the rewards
      read, and with likelihood "caption" int32[B, T]. Metrics: `loss`, `reward` and each reward by
      name (means, unweighted), `baseline`, `advantage` (root mean square), and `drawn_metrics`.
    Raises:
      ValueError: no reward, or as `SelfCriticalSettings`.
    """
    settings = replace(settings or SelfCriticalSettings(), **changes)
    if not rewards:
        raise ValueError("there must be a reward (there are 0)")

    def init(key: jax.Array, params: Params) -> SelfCriticalState:
        params = jax.tree.map(jnp.copy, params)
        averaged = jax.tree.map(jnp.copy, params) if settings.average else ()
        return SelfCriticalState(params, averaged, optimizer.init(params))

    def update(state: SelfCriticalState, batch: Context, key: jax.Array):
        check_batch(batch, "image", *(["caption"] if settings.likelihood else []))
        gradient, metrics = reward_gradient(
            speaker, state.params, rewards, batch, key, settings, max_len, noise
        )
        gradient, metrics = lax.pmean((gradient, metrics), "data")
        metrics["advantage"] = jnp.sqrt(metrics["advantage"])
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, change)
        averaged = follow(state.average, params, settings.average)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        return SelfCriticalState(params, averaged, opt), metrics

    return Algorithm(init, update)


def reward_gradient(
    speaker: Speaker,
    params: Params,
    rewards: Rewards,
    batch: Context,
    key: jax.Array,
    settings: SelfCriticalSettings,
    max_len: int,
    noise: Noise,
) -> tuple[Params, Metrics]:
    """The gradient of what is minimised, of one device's share, and its metrics.

    As in `self_critical`, but `advantage` is the mean square.
    """
    images, samples = batch["image"].shape[0], settings.samples
    n = images * samples
    keys = jax.vmap(lambda k: jax.random.split(k, 3), out_axes=1)(row_keys(key, n))
    # With noise a caption has a context of its own; without, an image is taken in once.
    each = 1 if noise.width else samples
    context = noise.context(jnp.repeat(batch["image"], samples // each, 0), keys[0])
    if settings.dropout:
        context["dropout"] = keys[1][::each]
    drawn = sample(repeated(speaker, each), params, context, keys[2], max_len=max_len)
    words = drawn.words
    total, found = weighted_reward(rewards, batch, words.reshape(images, samples, max_len))

    def own() -> Context:
        """Of the images, once each."""
        return noise.context(batch["image"], keys[0][::samples])

    if settings.baseline == "greedy":
        likeliest = greedy(speaker, params, own(), max_len=max_len).words
        baseline = weighted_reward(rewards, batch, likeliest[:, None])[0]
    else:
        baseline = (total.sum(1, keepdims=True) - total) / (samples - 1)
    advantage = total - baseline
    said = words.reshape(-1, each, max_len)
    weights = jnp.where(scored(said), -advantage.reshape(-1, each, 1) / n, 0)
    people = None
    if settings.likelihood:
        people = own() | {"dropout": keys[1][::samples]}, batch["caption"]
    value, gradient = drawn_gradient(
        speaker,
        params,
        context,
        said,
        weights,
        people,
        settings.likelihood,
        settings.accumulate,
    )
    return gradient, {
        "loss": value,
        "reward": total.mean(),
        "baseline": baseline.mean(),
        "advantage": jnp.square(advantage).mean(),
        **{name: x.mean() for name, x in found.items()},
        **drawn_metrics(drawn),
    }


def weighted_reward(
    rewards: Rewards, batch: Context, captions: jax.Array
) -> tuple[jax.Array, Metrics]:
    """The weighted sum of rewards float32[B, S] of captions int32[B, S, T], and each by its name.

    Raises ValueError where a reward is not one number for each caption.
    """
    found = {name: jnp.asarray(reward(batch, captions)) for name, (_, reward) in rewards.items()}
    for name, value in found.items():
        if jnp.shape(value) != captions.shape[:2]:
            raise ValueError(
                f"the reward {name!r} is {list(jnp.shape(value))} for captions"
                f" {list(captions.shape)}; it must be one number for each, [B, S]"
            )
    total = sum(rewards[name][0] * value for name, value in found.items())
    return jnp.asarray(total), found
