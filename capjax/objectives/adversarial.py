"""Adversarial training of a captioner with early feedback: G-GAN (Dai et al., 2017)."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from capjax.agreement import check_batch
from capjax.decoding.noise import Noise
from capjax.decoding.rollouts import values_and_load
from capjax.decoding.sample import sample
from capjax.judging import Evaluator
from capjax.objectives.algorithm import Algorithm, Metrics, drawn_metrics, follow, row_keys
from capjax.objectives.altered import Altered
from capjax.objectives.baselines import BASELINES, baseline_of, of_the_next_image
from capjax.objectives.evaluator_training import Learner, with_draws
from capjax.objectives.policy import drawn_gradient
from capjax.settings import BELOW_1, FROM_0, FROM_1, SHARE, OneOf
from capjax.speaker import SENTENCE, Context, Params, Speaker, log_probs, scored

REWARDS = ("evaluator", "constant", "shuffled")
FEEDBACK = ("word", "sentence")


@dataclass(frozen=True, kw_only=True)
class AdversarialSettings:
    """How `adversarial` trains.

    Raises:
      ValueError: an unknown reward, baseline or feedback, or one that needs several samples.
    """

    rollouts: Annotated[int, FROM_1] = 16  # as in `rollout_values`
    lanes: Annotated[int | None, FROM_0] = None  # as in `rollout_values`; 0 as None
    samples: Annotated[int, FROM_1] = 1  # captions drawn of an image, each with noise of its own
    evaluator_steps: Annotated[int, FROM_0] = 5  # evaluator updates for one of the speaker
    alpha: Annotated[float, FROM_0] = 1.0  # of `losses.evaluator`
    beta: Annotated[float, FROM_0] = 1.0  # the same
    swapped: Annotated[float, SHARE] = 0.0  # of paragraphs: as in `Altered`
    left_out: Annotated[float, SHARE] = 0.0  # the same; together at most 1
    # "evaluator"; or, as controls, "constant" (every value 1/2), "shuffled" (the values of another
    # image's caption).
    reward: Annotated[str, OneOf(REWARDS)] = "evaluator"
    # After what captions are completed: each "word", or each "sentence" of a paragraph, all of
    # whose words then have the value of its end (`rollout_values`' after).
    feedback: Annotated[str, OneOf(FEEDBACK)] = "word"
    # Subtracted from the values: "none"; "leave_one_out", the mean value of an image's other
    # samples; "prefix", the value of the caption before the word or sentence, and for the first one
    # the mean of the other samples' first.
    baseline: Annotated[str, OneOf(BASELINES)] = "none"
    # Weight of the speaker's entropy, in values a nat; estimated from the drawn words.
    entropy: Annotated[float, FROM_0] = 0.0
    likelihood: Annotated[float, FROM_0] = (
        0.0  # weight of maximum likelihood of the batch's captions, nats a word
    )
    dropout: bool = False  # whether captions are drawn and learnt with it (rollouts never have it)
    lag: Annotated[float, BELOW_1] = (
        0.0  # decay of the copy that rollouts speak with; 0: the speaker itself
    )
    average: Annotated[float, BELOW_1] = (
        0.0  # decay of the average of the speaker's parameters; 0 for none
    )
    accumulate: Annotated[int, FROM_1] = 1  # parts that both learn from (`in_parts`)

    def __post_init__(self) -> None:
        for name, names in (("reward", REWARDS), ("baseline", BASELINES), ("feedback", FEEDBACK)):
            if (value := getattr(self, name)) not in names:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(names)}")
        several = self.baseline != "none" and self.samples < 2
        if self.samples < 1 or self.evaluator_steps < 0 or several:
            raise ValueError(
                f"samples={self.samples} and evaluator_steps={self.evaluator_steps}: a baseline"
                " needs at least 2 samples an image, no baseline 1; evaluator steps are at least 0"
            )

    @property
    def altered(self) -> Altered:
        """What becomes of mismatched paragraphs."""
        return Altered(self.swapped, self.left_out)

    @property
    def after(self) -> int | None:
        """What prefixes end in that are completed, as in `rollout_values`."""
        return SENTENCE if self.feedback == "sentence" else None


class AdversarialState(NamedTuple):
    """The state of adversarial training."""

    params: Params  # the speaker's
    average: Params  # decaying average of them: what is decoded; () without a decay
    lagged: Params  # what rollouts speak with; () where that is params
    optimizer: Any
    evaluator: Params
    evaluator_optimizer: Any


def adversarial(
    speaker: Speaker,
    evaluator: Evaluator,
    optimizer: optax.GradientTransformation,
    evaluator_optimizer: optax.GradientTransformation,
    settings: AdversarialSettings | None = None,
    *,
    noise: Noise = Noise(),  # noqa: B008
    **changes: Any,
) -> Algorithm:
    """The min-max of speaker and evaluator, by policy gradient with a value a word.

    One update is `evaluator_steps` updates of the evaluator against fresh draws, then one of the
    speaker: captions are drawn, each word valued by rollouts (`rollout_values`), and the words'
    log-probabilities raised by their values (Dai et al., 2017, eq. 4).

    Args:
      settings: those of `AdversarialSettings` where None; `changes` to them by name.
      noise: what the speaker's noise is drawn from.
    Returns:
      Algorithm(init, update): init(key, params, evaluator_params); a batch is {"image" [B, U, ...],
      "caption" and "mismatched" int32[B, U, T]} with U = 1 + evaluator_steps, the first for the
      speaker. Metrics: see `speaker_gradient`; r by source, the loss and the gradient's norm of the
      last evaluator update.
    Raises:
      ValueError: as `AdversarialSettings`.
    """
    settings = replace(settings or AdversarialSettings(), **changes)
    weights = settings.alpha, settings.beta
    learner = Learner(evaluator, evaluator_optimizer, *weights, settings.accumulate)

    def init(key: jax.Array, params: Params, evaluator_params: Params) -> AdversarialState:
        params, evaluator_params = jax.tree.map(jnp.copy, (params, evaluator_params))
        return AdversarialState(
            params,
            jax.tree.map(jnp.copy, params) if settings.average else (),
            jax.tree.map(jnp.copy, params) if settings.lag else (),
            optimizer.init(params),
            evaluator_params,
            evaluator_optimizer.init(evaluator_params),
        )

    def update(state: AdversarialState, batch: Context, key: jax.Array):
        check_batch(batch, "image", "caption", "mismatched")
        keys = jax.random.split(key, 1 + settings.evaluator_steps)
        state, evaluator_metrics = update_evaluator(
            speaker, learner, state, batch, keys, noise, settings.altered
        )
        first = jax.tree.map(lambda x: x[:, 0], batch)
        gradient, metrics = speaker_gradient(
            speaker, evaluator, state, first, keys[0], settings, noise
        )
        gradient, metrics = lax.pmean((gradient, metrics), "data")
        change, opt = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, change)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        new = state._replace(
            params=params,
            average=follow(state.average, params, settings.average),
            lagged=follow(state.lagged, params, settings.lag),
            optimizer=opt,
        )
        return new, metrics | evaluator_metrics

    return Algorithm(init, update)


def update_evaluator(
    speaker: Speaker,
    learner: Learner,
    state: AdversarialState,
    batch: Context,
    keys: jax.Array,
    noise: Noise,
    altered: Altered = Altered(),  # noqa: B008
) -> tuple[AdversarialState, Metrics]:
    """The evaluator's updates (`evaluator_training`), one for each unit of a batch but the first.

    The speaker stays as it is meanwhile, so that all that they learn from is drawn before them.

    -> (the state after them, metrics of the last one; none where there is no update).
    """
    if keys.shape[0] == 1:
        return state, {}
    units = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0)[1:], batch)
    units = with_draws(speaker, state.params, learner.evaluator, units, keys[1:], noise, altered)

    def one(evaluator, unit):
        params, opt = evaluator
        params, opt, metrics = learner.update(params, opt, unit)
        return (params, opt), metrics

    start = state.evaluator, state.evaluator_optimizer
    (params, opt), history = lax.scan(one, start, units)
    metrics = {name: x[-1] for name, x in history.items()}
    metrics["evaluator_loss"] = metrics.pop("loss")
    metrics["evaluator_gradient_norm"] = metrics.pop("gradient_norm")
    return state._replace(evaluator=params, evaluator_optimizer=opt), metrics


def speaker_gradient(
    speaker: Speaker,
    evaluator: Evaluator,
    state: AdversarialState,
    batch: Context,
    key: jax.Array,
    settings: AdversarialSettings,
    noise: Noise,
) -> tuple[Params, Metrics]:
    """The gradient of what the speaker minimises, of one device's share; see `adversarial`.

    Returns:
      (the gradient, metrics): `loss`, `advantage` (root mean square of values less baseline),
      `drawn_metrics`, and with a judged reward those of `judged_values`.
    """
    rows, steps = batch["caption"].shape
    params, samples = state.params, settings.samples
    n = rows * samples
    keys = jax.vmap(lambda k: jax.random.split(k, 5), out_axes=1)(row_keys(key, n))
    context = noise.context(jnp.repeat(batch["image"], samples, 0), keys[0])
    speaking = context | ({"dropout": keys[1]} if settings.dropout else {})
    drawn = sample(speaker, params, speaking, keys[2], max_len=steps)
    words, real = drawn.words, scored(drawn.words)
    metrics: Metrics = {}
    if settings.reward == "constant":
        values = jnp.where(real, 0.5, 0.0)
    else:
        values, metrics = judged_values(
            speaker, evaluator, state, context, words, keys[3], settings
        )
    advantage = values - baseline_of(values, words, samples, settings.baseline, settings.after)
    if settings.entropy:
        chosen = lax.stop_gradient(log_probs(speaker, params, speaking, words))
        advantage = advantage - settings.entropy * chosen
    weights = jnp.where(real, advantage, 0)
    total = lax.pmean(real.sum().astype(jnp.float32), "data")

    people = None
    if settings.likelihood:
        own = noise.context(batch["image"], keys[4][::samples])
        people = own | {"dropout": keys[1][::samples]}, batch["caption"]
    value, gradient = drawn_gradient(
        speaker,
        params,
        speaking,
        words,
        -weights / n,
        people,
        settings.likelihood,
        settings.accumulate,
    )
    metrics |= {
        "loss": value,
        "advantage": jnp.sqrt(lax.pmean((weights**2).sum(), "data") / total),
        **drawn_metrics(drawn),
    }
    return gradient, metrics


def judged_values(
    speaker: Speaker,
    evaluator: Evaluator,
    state: AdversarialState,
    context: Context,
    words: jax.Array,
    key: jax.Array,
    settings: AdversarialSettings,
) -> tuple[jax.Array, Metrics]:
    """What each word of drawn captions int32[N, T] is worth to the evaluator.

    Returns:
      (float32[N, T], metrics): `reward` (mean r of the captions), `value_first`, `value_middle`,
      `value_last` (mean value after the first, the middle and the last word), and the lanes' `busy`
      share.
    """
    values, load = values_and_load(
        speaker,
        state.lagged if settings.lag else state.params,
        evaluator,
        state.evaluator,
        context,
        words,
        key,
        rollouts=settings.rollouts,
        lanes=settings.lanes or None,
        after=settings.after,
    )
    real = scored(words)
    count = real.sum(1)
    last = jnp.take_along_axis(values, count[:, None] - 1, 1)
    metrics = {
        "reward": last.mean(),
        "value_first": values[:, 0].mean(),
        "value_middle": jnp.take_along_axis(values, count[:, None] // 2, 1).mean(),
        "value_last": jnp.take_along_axis(values, jnp.maximum(count - 2, 0)[:, None], 1).mean(),
        "busy": load.busy,
    }
    if settings.reward == "shuffled":
        values = of_the_next_image(values, words, settings.samples, settings.after)
    return values, metrics
