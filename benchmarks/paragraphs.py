"""Paragraphs against the machine's own limit, beside a flat captioner of the same words.

    python benchmarks/paragraphs.py [--batch=8] [--rollouts=16] [--json FILE]

Paragraphs of five sentences of COCO's lengths, learnt from, drawn and valued: by completions after
each sentence, and after each word. The flat captioner and evaluator speak and read the same ids as
if id 2 were a word like others. Work is counted as the algorithms need it: LSTMs and the projection
onto the vocabulary for real words and their ends, and the sentence LSTM and its topics for
sentences that there are. The limit is the fastest float32 matmul of 2048 x 2048 timed in the same
run. Nothing else may run on the machine meanwhile.
"""

import argparse
import json
import platform
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from workload import endless, matmul_peak, seconds, take_dtype

import capjax
from capjax.compiled.lengths import LENGTHS, VOCABULARY, end_logits
from capjax.decoding.completions import Load
from capjax.decoding.rollouts import values_and_load
from capjax.objectives.maximum_likelihood import maximum_likelihood
from capjax.parallel.devices import over_devices
from capjax.speaker import Speaker

SENTENCES, STEPS = 5, 80


class Size(NamedTuple):
    dim: int = 512
    image: int = 2048
    vocabulary: int = VOCABULARY
    captions: int = 64  # learnt from
    drawn: int = 320
    dtype: str = "float32"

    @property
    def lstm(self) -> float:
        return 2 * (2 * self.dim) * (4 * self.dim)

    @property
    def project(self) -> float:
        return 2 * self.dim * self.vocabulary

    def plan(self, rows: float, sentences: float, hierarchical: bool) -> float:
        """What images, and the topics of their sentences, take."""
        topics = sentences * (self.lstm + 6 * self.dim**2) if hierarchical else rows * self.lstm
        return rows * 2 * self.image * self.dim + topics


def paragraphs_of(rng: np.random.Generator, count: int, vocabulary: int) -> np.ndarray:
    """Five sentences each, words drawn by Zipf's law: int32[count, STEPS], none of them cut."""
    weights = 1 / np.arange(1, vocabulary - 2)
    weights /= weights.sum()
    out = np.zeros((count, STEPS), np.int32)
    while (open_ := np.flatnonzero(out[:, 0] == 0)).size:
        for i in open_:
            lengths = rng.choice(len(LENGTHS), SENTENCES, p=np.array(LENGTHS) / sum(LENGTHS))
            ends = lengths.cumsum() + np.arange(SENTENCES)
            if ends[-1] < STEPS:
                out[i, : ends[-1]] = rng.choice(np.arange(3, vocabulary), ends[-1], p=weights)
                out[i, ends[:-1]] = capjax.SENTENCE
    return out


def of_lengths(speaker: Speaker, vocabulary: int) -> Speaker:
    """A speaker of such paragraphs, whatever its parameters: sentences end by COCO's odds."""
    odds = jnp.asarray(end_logits(vocabulary), jnp.float32)

    def start(params, context):
        memory, carry = speaker.start(params, context)
        return memory, (carry, *jnp.zeros((2, context["image"].shape[0]), jnp.int32))

    def step(params, memory, carry, words):
        inner, place, sentence = carry
        inner, hidden = speaker.step(params, memory, inner, words)
        place = jnp.where((words == 0) | (words == capjax.SENTENCE), 0, place + 1)
        sentence += (words == capjax.SENTENCE).astype(jnp.int32)
        last = (sentence >= SENTENCES - 1).astype(jnp.float32)
        end = odds[jnp.minimum(place, odds.size - 1)]
        return (inner, place, sentence), jnp.concatenate([hidden, jnp.stack([end, last], 1)], 1)

    def logits(params, hidden):
        scores = speaker.logits(params, hidden[..., :-2])
        end, last = hidden[..., -2:-1], hidden[..., -1:] > 0
        ids = jnp.arange(vocabulary)
        scores = jnp.where(ids == 0, jnp.where(last, end, -30.0), scores)
        return jnp.where(ids == capjax.SENTENCE, jnp.where(last, -30.0, end), scores)

    return Speaker(speaker.init, start, step, logits)


class Case:
    """A speaker and an evaluator, flat or of paragraphs, and what they are fed."""

    def __init__(self, hierarchical: bool, size: Size):
        make = partial(dict, dim=size.dim, dtype=size.dtype)
        image = ("features", size.image)
        if hierarchical:
            self.speaker = capjax.paragraph_generator(size.vocabulary, image, **make())
            self.evaluator = capjax.paragraph_evaluator(size.vocabulary, image, **make())
        else:
            self.speaker = capjax.generator(size.vocabulary, image, **make())
            self.evaluator = capjax.evaluator(size.vocabulary, image, **make())
        self.size, self.hierarchical = size, hierarchical
        self.params = jax.jit(self.speaker.init)(jax.random.key(0))
        self.judge = jax.jit(self.evaluator.init)(jax.random.key(1))
        self.fed = of_lengths(self.speaker, size.vocabulary)

    def batch(self, count: int) -> tuple[jax.Array, jax.Array]:
        rng = np.random.default_rng(0)
        captions = paragraphs_of(rng, count, self.size.vocabulary)
        images = rng.normal(size=(count, self.size.image))
        return jnp.asarray(images, jnp.float32), jnp.asarray(captions)

    def train(self, repeats: int) -> tuple[float, float]:
        """(seconds, floating-point operations) of a step of maximum likelihood."""
        images, captions = self.batch(self.size.captions)
        batch = {"image": images, "caption": captions}
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(5e-4))
        algorithm = maximum_likelihood(self.speaker, optimizer)
        step = over_devices(lambda state, _, batch, key: algorithm.update(state, batch, key))
        state = algorithm.init(jax.random.key(0))

        def run() -> None:
            nonlocal state
            state, metrics = step(state, (), batch, jax.random.key(1))
            jax.block_until_ready((state, metrics))

        run()  # the second is compiled anew, of a state that lies on its devices
        words, rows = float((captions > 0).sum()) + len(captions), len(captions)
        plan = self.size.plan(rows, rows * SENTENCES, self.hierarchical)
        work = 3 * (words * (self.size.lstm + self.size.project) + plan)
        return seconds(run, repeats), work

    def sample(self, repeats: int) -> tuple[float, float]:
        """The same of drawing paragraphs of all steps."""
        size, rows = self.size, self.size.drawn
        draw = jax.jit(partial(capjax.sample, self.speaker, max_len=STEPS))
        images = jax.random.normal(jax.random.key(3), (rows, size.image))
        params = endless(self.params)

        def run() -> None:
            jax.block_until_ready(draw(params, {"image": images}, jax.random.key(2)))

        plan = size.plan(rows, rows * SENTENCES, self.hierarchical)
        return seconds(run, repeats), rows * STEPS * (size.lstm + size.project) + plan

    def values(self, count: int, n: int, after: int | None, repeats: int) -> dict[str, float]:
        """The same of rollouts after each word, or each sentence; and what was done in them."""
        images, captions = self.batch(count)
        options: dict[str, Any] = {"rollouts": n} | ({} if after is None else {"after": after})

        @jax.jit
        def run(params, judge, images, captions) -> tuple[jax.Array, Load]:
            context, key = {"image": images}, jax.random.key(2)
            return values_and_load(
                self.fed, params, self.evaluator, judge, context, captions, key, **options
            )

        def call() -> Load:
            args = self.params, self.judge, images, captions
            return jax.block_until_ready(run(*args))[1]

        load, time = call(), seconds(call, repeats)
        prefixes = captions > 0 if after is None else captions == after
        return {
            "seconds": time,
            "work": self._work_of_values(np.asarray(captions), np.asarray(prefixes), n, load),
            "completions": int(prefixes.sum()) * n,
            "fed": float(load.fed),
            "busy": float(load.busy),
        }

    def _work_of_values(self, captions: np.ndarray, prefixes: np.ndarray, n: int, load: Load):
        """What is read, spoken and projected once, and what the lanes tell that they did."""
        size, rows, words = self.size, len(captions), float((captions > 0).sum())
        once = 3 * words * size.lstm + prefixes.sum() * size.project
        once += size.plan(rows, rows * SENTENCES, self.hierarchical)
        once += rows * 2 * size.image * size.dim
        if self.hierarchical:  # the evaluator's sentences, of people's and of completions
            left = SENTENCES - (captions == capjax.SENTENCE).cumsum(1)
            once += size.lstm * (rows * SENTENCES + n * (left * prefixes).sum())
        return (
            once
            + float(load.fed) * (2 * size.lstm + size.project)
            + float(load.ended) * (size.lstm)
        )


def measured(size: Size, batch: int, n: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each loop and each of the two captioners."""
    rows: list[dict[str, Any]] = []
    for hierarchical in (False, True):
        case, kind = Case(hierarchical, size), "paragraphs" if hierarchical else "flat"
        for name, run in (("training", case.train), ("sampling", case.sample)):
            time, work = run(repeats)
            rows.append({"case": name, "kind": kind, "seconds": time, "work": work})
        for name, after in (("after sentences", capjax.SENTENCE), ("after words", None)):
            found = case.values(batch, n, after, repeats)
            rows.append({"case": name, "kind": kind} | found)
    return rows


def show(rows: list[dict[str, Any]], peak: float) -> None:
    print(
        f"{'':18}{'':12}{'seconds':>9}{'GFLOP/s':>9}{'of peak':>9}{'completions':>13}{'words':>9}"
    )
    for row in rows:
        speed = row["work"] / row["seconds"] / 1e9
        row |= {"gflops": speed, "share": speed / peak}
        told = f"{row['completions']:13}{row['fed']:9.0f}" if "fed" in row else ""
        print(
            f"{row['case']:18}{row['kind']:12}{row['seconds']:9.3f}{speed:9.1f}{speed / peak:9.0%}"
            + told
        )
    at = {(row["case"], row["kind"]): row for row in rows}
    words, sentences = at["after words", "paragraphs"], at["after sentences", "paragraphs"]
    for name in ("completions", "fed", "work", "seconds"):
        ratio = words[name] / max(sentences[name], 1e-9)
        print(f"rollouts after words over rollouts after sentences, {name}: {ratio:.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="paragraphs that are valued")
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="tiny networks, to see that it runs")
    parser.add_argument("--json", help="also write the rows to this file")
    take_dtype(parser)
    flags = parser.parse_args()
    size = Size(dtype=flags.dtype)
    if flags.small:
        size = Size(16, 8, 97, 4, 8, flags.dtype)
    peak = matmul_peak()
    rows = measured(size, flags.batch, flags.rollouts, flags.repeats)
    peak = max(peak, matmul_peak())
    device = jax.devices()[0].device_kind
    print(f"{platform.machine()} {device}, jax {jax.__version__}, peak {peak:.0f} GFLOP/s")
    show(rows, peak)
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            json.dump({"device": device, "peak_gflops": peak, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
