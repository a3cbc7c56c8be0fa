"""The measures on the device against the Python scorers, on real captions, in one run.

    python benchmarks/metrics.py [--json FILE]

320 candidates (64 images x 5) with 5 references each, cut at 20 words; for diversity the same 320
as 5 samples of 64 images. They are captions of COCO's val2014, which pycocoevalcap carries along;
each image is described by captions of the next, and the document frequencies are those of all
40,504 images. Python's times are of pycocoevalcap's own scorers on text split into words, with the
document frequencies counted beforehand on both sides. Every time is a median after a first run.
"""

import argparse
import importlib.util
import itertools
import json
import platform
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

from capjax.data.tokens import tokenize
from capjax.metrics import (
    bleu,
    cider_d,
    diversity,
    encode,
    ngram_table,
    pack_references,
    rouge_l,
)

IMAGES, EACH, STEPS = 64, 5, 20
ORDERS = range(1, 5)


def coco_captions() -> list[list[str]]:
    """The captions of val2014, five an image, split into words and cut at STEPS."""
    package = importlib.util.find_spec("pycocoevalcap.spice")
    assert package is not None
    jars = [
        j for f in package.submodule_search_locations or () for j in Path(f).glob("spice-*.jar")
    ]
    with zipfile.ZipFile(jars[0]) as jar:
        rows = json.loads(jar.read("coco/annotations/captions_val2014.json"))["annotations"]
    images: dict[int, list[str]] = {}
    for row in rows:
        images.setdefault(row["image_id"], []).append(" ".join(tokenize(row["caption"])[:STEPS]))
    return [captions[:EACH] for captions in images.values() if len(captions) >= EACH]


def seconds(run: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """The median of some runs after one that compiles, and what they gave."""
    result = jax.block_until_ready(run())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return float(np.median(times)), result


class Counted(CiderScorer):
    """pycocoevalcap's CIDEr with document frequencies that are there already."""

    def __init__(self, frequencies: dict, images: int) -> None:
        super().__init__()
        self.document_frequency, self.images = frequencies, images

    def score(self, pairs: list[tuple[str, list[str]]]) -> np.ndarray:
        self.crefs: list = _Sized(self.images)
        self.ctest: list = []
        for pair in pairs:
            self += pair
        return np.array(self.compute_cider())


class _Sized(list):
    """A list that tells another length: the scorer takes the number of images from it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __len__(self) -> int:
        return self.size


def distinct(sets: list[list[str]]) -> np.ndarray:
    """Div-1 and Div-2 by Python sets: [N, 2]."""
    rows = []
    for captions in sets:
        words = [text.split() for text in captions]
        total = sum(map(len, words))
        grams = [{g for w in words for g in zip(*(w[k:] for k in range(n)))} for n in (1, 2)]  # noqa: B905
        rows.append([len(g) / total for g in grams])
    return np.array(rows)


def self_cider(scorer: Counted, sets: list[list[str]]) -> np.ndarray:
    """By the recipe of Wang & Chan's code, with its scorer: [N]."""
    pairs = [(a, [b]) for captions in sets for a, b in itertools.product(captions, captions)]
    kernels = scorer.score(pairs).reshape(len(sets), EACH, EACH)
    rows = []
    for kernel in kernels:
        values = np.linalg.svd(np.triu(kernel) + np.triu(kernel, 1).T, compute_uv=False)
        roots = np.sqrt(values)
        rows.append(-np.log(roots[0] / roots.sum()) / np.log(EACH))
    return np.array(rows)


def mutual_bleu(sets: list[list[str]]) -> np.ndarray:
    """The mean sentence BLEU-1..4 of each caption against its others: [N, 4]."""
    scores = []
    for s in range(EACH):
        truth = {i: [t for k, t in enumerate(x) if k != s] for i, x in enumerate(sets)}
        scores.append(Bleu(4).compute_score(truth, {i: [x[s]] for i, x in enumerate(sets)}, 0)[1])
    return np.mean(scores, 0).T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--repeats", type=int, default=50, help="of the device; Python runs 3 times"
    )
    parser.add_argument("--json", help="also write the rows to this file")
    flags = parser.parse_args()

    texts = coco_captions()
    ids, _ = encode(texts, max_len=STEPS)
    start = time.perf_counter()
    table = ngram_table(ids)
    built = time.perf_counter() - start

    counter = CiderScorer()
    for captions in texts:
        counter += ("", captions)
    counter.compute_doc_freq()
    scorer = Counted(counter.document_frequency, len(texts))

    image = np.repeat(np.arange(IMAGES), EACH)
    spoken = [text for captions in texts[1 : IMAGES + 1] for text in captions]
    candidates = jnp.asarray(ids[1 : IMAGES + 1].reshape(-1, STEPS))
    references = jnp.asarray(ids[image])
    truth = {k: texts[i] for k, i in enumerate(image)}
    hypotheses = {k: [text] for k, text in enumerate(spoken)}
    packed = pack_references(references, table)
    sets, samples = texts[:IMAGES], jnp.asarray(ids[:IMAGES])

    def measured(*names: str) -> np.ndarray:
        result = diversity(samples, table)
        return np.stack([result[name] for name in names], -1)

    mbleu = [f"mbleu{n}_sent" for n in ORDERS]
    pairs = [(text, truth[k]) for k, text in enumerate(spoken)]
    python = {
        "cider_d": lambda: scorer.score(pairs),
        "bleu": lambda: np.array(Bleu(4).compute_score(truth, hypotheses, 0)[1]).T,
        "rouge_l": lambda: Rouge().compute_score(truth, hypotheses)[1],
        "self_cider": lambda: self_cider(scorer, sets),
        "mbleu": lambda: mutual_bleu(sets),
        "distinct": lambda: distinct(sets),
        "diversity": lambda: np.concatenate(
            [self_cider(scorer, sets)[:, None], mutual_bleu(sets), distinct(sets)], -1
        ),
    }
    # Self-CIDEr, mBLEU and Div-n come in one call, which is timed against each and against all.
    device = {
        "cider_d, packed": ("cider_d", lambda: cider_d(candidates, packed, table)),
        "cider_d": ("cider_d", lambda: cider_d(candidates, references, table)),
        "bleu": ("bleu", lambda: bleu(candidates, references)),
        "rouge_l": ("rouge_l", lambda: rouge_l(candidates, references)),
        "self_cider *": ("self_cider", lambda: measured("self_cider")[:, 0]),
        "mbleu *": ("mbleu", lambda: measured(*mbleu)),
        "distinct *": ("distinct", lambda: measured("div1", "div2")),
        "diversity": ("diversity", lambda: measured("self_cider", *mbleu, "div1", "div2")),
    }
    peers = {name: seconds(run, 3) for name, run in python.items()}
    kind = jax.devices()[0].device_kind
    print(f"{platform.machine()} {kind}, jax {jax.__version__}")
    print(f"n-gram table of {len(texts)} images: {built:.1f} s")
    heads = "captions/s", "Python ms", "ratio", "difference"
    print(f"{'320 captions':18}{'ms':>8}" + "".join(f"{head:>12}" for head in heads))
    rows = []
    for name, (peer, run) in device.items():
        took, result = seconds(run, flags.repeats)
        took_python, expected = peers[peer]
        off = float(np.abs(np.asarray(result, np.float64) - expected).max())
        speed, ratio = len(spoken) / took, took_python / took
        print(
            f"{name:18}{took * 1e3:8.2f}{speed:12.0f}{took_python * 1e3:12.0f}"
            f"{ratio:11.1f}x{off:12.1e}"
        )
        rows.append(
            {"measure": name, "seconds": took, "python_seconds": took_python, "difference": off}
        )
    print("* the time of the whole of diversity, which gives them all in one call")
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            json.dump({"device": kind, "table_seconds": built, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
