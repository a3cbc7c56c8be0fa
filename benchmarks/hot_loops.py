"""The loops that time is spent in, each as a call of the library's public functions.

Captions have COCO's lengths, those that are drawn or searched for as well (`endings.py`).
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import work
from workload import DIM, IMAGE

import capjax
from capjax.compiled.endings import CERTAIN, end_later, ending
from capjax.compiled.lengths import STEPS, VOCABULARY, captions_like_coco, end_logits
from capjax.metrics import self_retrieval
from capjax.metrics.cider import pack_references
from capjax.metrics.ngrams import ngram_table
from capjax.objectives.adversarial import adversarial
from capjax.objectives.contrastive import contrastive
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.objectives.rewards import cider_reward
from capjax.objectives.self_critical import self_critical
from capjax.parallel.devices import over_devices
from capjax.speaker import Speaker

ROLLOUTS, SAMPLES, DRAWS, WIDTH, OTHERS, EVALUATOR_STEPS, RETOLD = 16, 2, 5, 5, 5, 5, 1000


class Size(NamedTuple):
    """How large networks and vocabulary are, and what part of the batches is taken."""

    dim: int = DIM
    image: int = IMAGE
    vocabulary: int = VOCABULARY
    part: int = 1  # a batch is divided by this
    dtype: str = "bfloat16"


NARROW = Size(dim=16, image=16)  # what counts trips: they do not depend on the width
SMALL = Size(dim=16, image=8, vocabulary=97, part=64)


class HotLoop(NamedTuple):
    """A program and what it is fed."""

    run: Callable  # (whole, share, key) -> out; of an algorithm (whole, metrics), inside "data"
    algorithm: bool
    init: Callable[[], Any]  # what every chip holds: parameters, or an algorithm's state
    share: Any  # what is dealt to the chips, one chip's part
    work: float  # floating-point operations of matmuls that are needed, one chip's part
    size: str


class _Parts(NamedTuple):
    """What the cases are made of."""

    size: Size
    rng: np.random.Generator
    plain: Speaker
    by_odds: Speaker  # ends with COCO's odds
    by_length: Speaker  # ends where `end_later` says
    evaluator: Any
    optimizer: Any

    def images(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=(*shape, self.size.image)).astype(np.float32)

    def captions(self, *shape: int) -> np.ndarray:
        found = captions_like_coco(self.rng, int(np.prod(shape)), self.size.vocabulary)
        return found.reshape(*shape, STEPS)

    def endings(self, n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """A context of images whose captions have lengths of COCO's, and these."""
        lengths = (self.captions(n) > 0).sum(1)
        return {"image": self.images(n), "place": end_later(lengths)}, lengths

    def rows(self, number: int) -> int:
        return max(2, number // self.size.part)

    @property
    def nets(self) -> work.Networks:
        return work.Networks(self.size.dim, self.size.image, self.size.vocabulary)


def _params(p: _Parts, *nets: Any) -> Callable[[], Any]:
    """Parameters of networks, each with a key of its own."""
    return lambda: tuple(net.init(jax.random.key(i)) for i, net in enumerate(nets))


def train(p: _Parts, number: int) -> HotLoop:
    n = p.rows(number)
    algorithm = maximum_likelihood(p.plain, p.optimizer)
    batch = {"image": p.images(n), "caption": p.captions(n)}
    init = lambda: algorithm.init(jax.random.key(0))  # noqa: E731
    needed = p.nets.train(batch["caption"], n)
    return HotLoop(algorithm.update, True, init, batch, needed, f"{n} captions")


def sample(p: _Parts, number: int) -> HotLoop:
    context, lengths = p.endings(p.rows(number))

    def run(whole, share, key):
        return capjax.sample(p.by_length, whole[0], share, key)

    needed = p.nets.speak(lengths, len(lengths))
    return HotLoop(run, False, _params(p, p.by_length), context, needed, f"{len(lengths)} captions")


def greedy(p: _Parts, number: int) -> HotLoop:
    context, lengths = p.endings(p.rows(number))

    def run(whole, share, key):
        return capjax.greedy(p.by_length, whole[0], share)

    needed = p.nets.speak(lengths, len(lengths))
    return HotLoop(run, False, _params(p, p.by_length), context, needed, f"{len(lengths)} captions")


def beam(p: _Parts, number: int) -> HotLoop:
    context, lengths = p.endings(p.rows(number))

    def run(whole, share, key):
        return capjax.beam_search(p.by_length, whole[0], share, width=WIDTH)

    needed = p.nets.search(lengths, WIDTH)
    size = f"{len(lengths)} images, width {WIDTH}"
    return HotLoop(run, False, _params(p, p.by_length), context, needed, size)


def suppressor(p: _Parts, number: int) -> HotLoop:
    context, lengths = p.endings(p.rows(number))
    other = {"image": p.images(len(lengths), 1), "place": context["place"][:, None]}

    def run(whole, share, key):
        return capjax.emitter_suppressor(p.by_length, whole[0], *share, width=WIDTH)

    needed = 2 * p.nets.search(lengths, WIDTH)
    size = f"{len(lengths)} pairs, width {WIDTH}"
    return HotLoop(run, False, _params(p, p.by_length), (context, other), needed, size)


def rollouts(p: _Parts, number: int) -> HotLoop:
    n = p.rows(number)
    captions = p.captions(n)

    def run(whole, share, key):
        params, judge = whole
        images = {"image": share["image"]}
        return capjax.rollout_values(
            p.by_odds, params, p.evaluator, judge, images, share["caption"], key, rollouts=ROLLOUTS
        )

    needed = p.nets.rollouts(captions, ROLLOUTS)
    batch = {"image": p.images(n), "caption": captions}
    init = _params(p, p.by_odds, p.evaluator)
    return HotLoop(run, False, init, batch, needed, f"B = {n}, n = {ROLLOUTS}")


def gan(p: _Parts, number: int) -> HotLoop:
    n, units = p.rows(number), 1 + EVALUATOR_STEPS
    algorithm = adversarial(
        p.by_odds, p.evaluator, p.optimizer, p.optimizer, rollouts=ROLLOUTS, samples=SAMPLES,
        evaluator_steps=EVALUATOR_STEPS,
    )  # fmt: skip
    batch = {"image": p.images(n, units), "caption": p.captions(n, units)}
    batch["mismatched"] = p.captions(n, units)
    init = lambda: algorithm.init(  # noqa: E731
        jax.random.key(0), *_params(p, p.by_odds, p.evaluator)()
    )
    drawn = captions_like_coco(np.random.default_rng(1), n * SAMPLES, p.size.vocabulary)
    needed = p.nets.gan(drawn, n, ROLLOUTS, EVALUATOR_STEPS)
    size = f"{n} images x {SAMPLES}, n = {ROLLOUTS}, {EVALUATOR_STEPS} evaluator steps"
    return HotLoop(algorithm.update, True, init, batch, needed, size)


def contrast(p: _Parts, number: int) -> HotLoop:
    n = p.rows(number)
    algorithm = contrastive(p.plain, p.plain, p.optimizer)
    batch = {"image": p.images(n), "caption": p.captions(n), "mismatched": p.captions(n, OTHERS)}
    init = lambda: algorithm.init(jax.random.key(0), *_params(p, p.plain, p.plain)())  # noqa: E731
    read = np.concatenate([batch["caption"][:, None], batch["mismatched"]], 1)
    needed = 4 / 3 * p.nets.train(read.reshape(-1, STEPS), n)  # the reference reads them, too
    return HotLoop(algorithm.update, True, init, batch, needed, f"{n} images, K = {OTHERS}")


def critical(p: _Parts, number: int) -> HotLoop:
    n = p.rows(number)
    references = p.captions(n, 5)
    table = ngram_table(references)
    reward = {"cider": (1.0, cider_reward(table))}
    algorithm = self_critical(p.by_odds, p.optimizer, reward, samples=DRAWS, max_len=STEPS)
    batch = {"image": p.images(n), "references": pack_references(references, table)}
    init = lambda: algorithm.init(jax.random.key(0), *_params(p, p.by_odds)())  # noqa: E731
    drawn = captions_like_coco(np.random.default_rng(1), n * DRAWS, p.size.vocabulary)
    needed = p.nets.speak((drawn > 0).sum(1), n) + p.nets.train(drawn, n)
    return HotLoop(algorithm.update, True, init, batch, needed, f"{n} images x {DRAWS}, CIDEr-D")


class _Recorded(Exception):
    """Stops a function where it would have run its program."""


def retrieval(p: _Parts, number: int) -> HotLoop:
    """All captions with one block of images: the program that `pairwise_log_probs` repeats."""
    captions = p.captions(p.rows(number))
    params = jax.eval_shape(p.plain.init, jax.random.key(0))
    call: list[Any] = []

    def record(*args: Any) -> Any:
        call.extend(args)
        raise _Recorded

    program = self_retrieval._read
    images = {"image": p.images(self_retrieval.IMAGES)}
    with mock.patch.object(self_retrieval, "_read", record), suppress(_Recorded):
        capjax.metrics.pairwise_log_probs(p.plain, params, images, captions)
    speaker, tree, _, context, *arrays = call

    def run(whole, share, key):
        return program(speaker, tree, whole[0], share, *whole[1:])

    init = lambda: (*_params(p, p.plain)(), *jax.tree.map(jnp.asarray, arrays))  # noqa: E731
    read = len({tuple(c[:t]) for c in captions for t in range(1 + (c > 0).sum()) if t < STEPS})
    rows = len(context["image"])
    needed = rows * p.nets.words(read, 1)
    size = f"{len(captions)} captions, {rows} images at once"
    return HotLoop(run, False, init, jax.tree.map(np.asarray, context), needed, size)


# name -> (its loop, its batch on one chip)
CASES: dict[str, tuple[Callable[[_Parts, int], HotLoop], int]] = {
    "training step": (train, 4096),
    "sampling": (sample, 4096),
    "greedy": (greedy, 4096),
    "beam": (beam, 256),
    "rollouts 64": (rollouts, 64),
    "rollouts 512": (rollouts, 512),
    "G-GAN update": (gan, 64),
    "contrastive step": (contrast, 256),
    "self-critical step": (critical, 512),
    "emitter-suppressor": (suppressor, 256),
    "self-retrieval": (retrieval, RETOLD),
}


def hot_loop(name: str, size: Size) -> HotLoop:
    """One of CASES."""
    image = ("features", size.image)
    make = lambda build: build(size.vocabulary, image, dim=size.dim, dtype=size.dtype)  # noqa: E731
    plain = make(capjax.generator)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-4))
    odds, sure = ending(plain, end_logits(size.vocabulary)), ending(plain, CERTAIN)
    parts = _Parts(
        size, np.random.default_rng(0), plain, odds, sure, make(capjax.evaluator), optimizer
    )
    build, number = CASES[name]
    return build(parts, number)


def mapped(loop: HotLoop, devices: list[Any]) -> tuple[Callable, jax.sharding.Mesh]:
    """A loop mapped over devices, (whole, share, key) -> out, compiled; and the mesh it runs on."""
    axes = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=axes, devices=devices)
    if loop.algorithm:
        update = lambda state, _, batch, key: loop.run(state, batch, key)  # noqa: E731
        step = over_devices(update, how="shard_map", devices=devices)
        return lambda whole, share, key: step(whole, (), share, key), mesh
    if len(devices) == 1:
        return jax.jit(loop.run), mesh
    whole, share = jax.P(), jax.P("data")
    body = jax.shard_map(
        loop.run, mesh=mesh, in_specs=(whole, share, whole), out_specs=share, check_vma=False
    )
    return jax.jit(body), mesh
