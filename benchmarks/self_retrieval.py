"""Every caption with every image, against the machine's own limit and against pair by pair.

    python benchmarks/self_retrieval.py [--captions=1000] [--images=64] [--json FILE]

The 512-wide nic scores captions of COCO's val2014 (real text, from the installed pycocoevalcap)
with each of some images; with --images=1000 all of self-retrieval's million pairs, in ten minutes
on two cores. Work is counted as the algorithm needs it: an LSTM step and a projection onto the
vocabulary for each distinct beginning of a caption and each image. Beside it the same scores by
`log_probs` of all captions, an image at a time. Nothing else may run on the machine meanwhile.
"""

import argparse
import json
import platform
import time

import jax
import jax.numpy as jnp
import numpy as np
from metrics import coco_captions
from workload import DIM, IMAGE, matmul_peak, seconds, work

import capjax
from capjax.compiled.lengths import STEPS, VOCABULARY
from capjax.metrics import self_retrieval
from capjax.metrics.prefix_tree import prefix_tree
from capjax.speaker import scored


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=int, default=1000)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--json", help="also write the figures to this file")
    flags = parser.parse_args()
    texts = [texts[0] for texts in coco_captions()[: flags.captions]]
    ids = capjax.Vocabulary.build(texts, min_count=1).encode_all(texts, STEPS)
    captions = np.where(ids < VOCABULARY, ids, 1)
    images = np.random.default_rng(0).normal(size=(flags.images, IMAGE)).astype(np.float32)
    speaker = capjax.generator(VOCABULARY, ("features", IMAGE), dim=DIM)
    params = speaker.init(jax.random.key(0))
    tree = prefix_tree(captions, self_retrieval.PREFIXES)
    words = int(scored(jnp.asarray(captions)).sum())

    few = {"image": images[: self_retrieval.IMAGES]}
    self_retrieval.pairwise_log_probs(speaker, params, few, captions)  # compiles
    peak = matmul_peak()
    start = time.perf_counter()
    scores = self_retrieval.pairwise_log_probs(speaker, params, {"image": images}, captions)
    together_s = time.perf_counter() - start
    peak = max(peak, matmul_peak())

    @jax.jit
    def one(params, image, captions):
        context = {"image": jnp.broadcast_to(image, (len(captions), IMAGE))}
        return capjax.log_probs(speaker, params, context, captions).sum(-1)

    given = jnp.asarray(captions)
    apart_s = flags.images * seconds(
        lambda: one(params, jnp.asarray(images[0]), given).block_until_ready(), 3
    )
    difference = np.abs(scores[:, 0] - np.asarray(one(params, jnp.asarray(images[0]), given)))

    flops = flags.images * work(tree.prefixes, 1)
    speed = flops / together_s / 1e9
    device = jax.devices()[0].device_kind
    rows = {
        "device": f"{platform.machine()} {device}, jax {jax.__version__}",
        "peak_gflops": peak,
        "pairs": flags.captions * flags.images,
        "words": words,
        "distinct_beginnings": tree.prefixes,
        "seconds": together_s,
        "gflops": speed,
        "share": speed / peak,
        "pair_by_pair_seconds": apart_s,
        "largest_difference": float(difference.max()),
    }
    print(f"{rows['device']}, peak {peak:.0f} GFLOP/s")
    print(
        f"{flags.captions} captions x {flags.images} images: {together_s:.1f} s, {speed:.0f} "
        f"GFLOP/s, {speed / peak:.0%} of peak (reads {tree.prefixes} of {words} words)"
    )
    print(f"pair by pair: {apart_s:.1f} s ({apart_s / together_s:.1f}x)")
    print(f"largest difference of a score: {difference.max():.1e} nats")
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
