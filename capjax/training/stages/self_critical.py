"""Self-critical training of a captioner for CIDEr-D, and for being told apart: SCST."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from capjax.data.batches import gather, rows_beside_images
from capjax.data.vocabulary import tokenize
from capjax.errors import InputError
from capjax.metrics import encode, ngram_table, pack_references
from capjax.objectives.algorithm import Algorithm, decoded
from capjax.objectives.rewards import (
    cider_reward,
    evaluator_reward,
    listener_reward,
    self_retrieval_reward,
)
from capjax.objectives.self_critical import SelfCriticalSettings, self_critical
from capjax.run.recipe import Recipe
from capjax.run.trained import Trained
from capjax.settings import FROM_0
from capjax.speaker import SENTENCE
from capjax.training.stage import (
    Learning,
    Learnt,
    Run,
    Stage,
    check_baseline,
    near,
    own_evaluator,
    own_speaker,
)
from capjax.training.validation import last_is_best, speaker_validation

PACKED = 5000  # images whose references are weighed at once


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """The weight of each reward; all but CIDEr-D ask the run's judge."""

    closed: ClassVar[bool] = True

    cider: Annotated[float, FROM_0] = 0.0
    evaluator: Annotated[float, FROM_0] = 0.0
    listener: Annotated[float, FROM_0] = 0.0
    self_retrieval: Annotated[float, FROM_0] = 0.0


@dataclass(frozen=True, kw_only=True)
class Settings(Learning, SelfCriticalSettings):
    learns: ClassVar[str] = "the captioner learns from what captions that it draws are worth"
    tunes: ClassVar[str] = "self-critical training"
    accumulates: ClassVar[bool] = True

    rewards: Rewards
    margin: Annotated[float, FROM_0]  # of self-retrieval's hinge
    distractors: Annotated[int, FROM_0]  # of an image beside the batch's
    mined: Annotated[int, FROM_0]  # drawn from so many nearest images
    count_end: bool  # whether the end is a word of CIDEr-D

    def __post_init__(self) -> None:
        """Left to `settings.read` and `check`, which tell of settings by their names."""

    def rows_of(self, images: int, captions: int) -> int:
        return images

    def cost(self) -> float:
        return 2 * self.batch * self.samples  # which are drawn, then read

    def check(self, recipe: Recipe, name: str) -> None:
        rewards, judge = asdict(self.rewards), recipe.judged_by
        if not any(rewards.values()):
            raise InputError(f"{name}.rewards are all 0; give one of them a weight")
        for reward, weight in rewards.items():
            wanted = "evaluator" if reward == "evaluator" else "listener"
            if weight and reward != "cider" and judge != wanted:
                raise InputError(
                    f"{name}.rewards.{reward}={weight} needs config.judge={wanted!r}, and it is"
                    f" {judge!r}; see configs/self_critical.py"
                )
        check_baseline(self.baseline, self.samples, name)

    def check_start(self, recipe: Recipe, start: Trained) -> None:
        ours, theirs = recipe.judged_by, start.recipe.judged_by if start.evaluator else ""
        if ours and theirs != ours:
            raise InputError(
                f"the rewards ask the {ours} of {recipe.init_from}, which trained"
                f" {f'none but its {theirs}' if theirs else 'none'}; name a run that did, as of"
                f" configs/{ours}.py, or put {ours!r} before 'self_critical' in config.stages"
            )


def stage(run: Run, settings: Settings) -> Stage:
    batch, seed, judge = settings.batch, run.recipe.seed, run.evaluator
    of = np.asarray(run.training.arrays["of"])
    count = len(run.training.split.ids)
    optimizer = settings.optimizer(settings.steps_of(count))
    stop = SENTENCE if run.vocabulary.sentences else None
    nearest = near(run, settings.distractors, settings.mined, np.arange(count))

    def algorithm(data: Mapping[str, Any], judge_params: Any) -> Algorithm:
        known = {"cider": cider_reward(data["table"], uncounted=stop)}
        if judge:
            known |= {
                "evaluator": evaluator_reward(judge, judge_params),
                "listener": listener_reward(judge, judge_params),
                "self_retrieval": self_retrieval_reward(judge, judge_params, settings.margin),
            }
        weights = {name: weight for name, weight in asdict(settings.rewards).items() if weight}
        return self_critical(
            run.speaker,
            optimizer,
            {name: (weight, known[name]) for name, weight in weights.items()},
            settings,
            max_len=run.recipe.data.max_len,
            noise=run.recipe.drawn_noise,
        )

    def init(key, learnt):
        start = algorithm({"table": None}, None).init(key, own_speaker(run, learnt, key))
        return start, own_evaluator(run, learnt, key) if judge else None

    def update(state, data, rows, key):
        chosen = gather("beside", data, rows)
        image = data["of"][rows[:, 0]]
        chosen["references"] = jax.tree.map(lambda x: x[image], data["references"])
        new, metrics = algorithm(data, state[1]).update(state[0], chosen, key)
        return (new, state[1]), metrics

    return Stage(
        init=init,
        update=update,
        trained=lambda state: Learnt(decoded(state[0]), state[1]),
        per_epoch=count,
        rows=lambda step: rows_beside_images(
            of, batch, seed, step, near=nearest, distractors=settings.distractors
        ),
        kind="beside",
        captions=batch * settings.samples,
        validate=lambda learnt: speaker_validation(run, learnt, settings),
        score=last_is_best,  # what is raised need not be CIDEr alone
        beside=packed_references(
            run.training.split.captions, run.vocabulary.ids, settings.count_end
        ),
    )


def packed_references(
    captions: Sequence[Sequence[str]], ids: Mapping[str, int], count_end: bool
) -> dict[str, Any]:
    """The training captions as CIDEr-D reads them: `table`, and `references` of all images.

    Words that the vocabulary lacks have ids of their own, which no speaker says.
    """
    texts = [[" ".join(tokenize(t)) for t in every] for every in captions]
    references, _ = encode(texts, ids)
    table = ngram_table(references)
    parts = [
        pack_references(references[i : i + PACKED], table, count_end=count_end)
        for i in range(0, len(references), PACKED)
    ]
    return {"table": table, "references": jax.tree.map(lambda *x: jnp.concatenate(x), *parts)}
