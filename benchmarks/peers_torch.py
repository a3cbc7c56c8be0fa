"""Plain PyTorch on a card, a process of its own: a line of JSON for each thing timed.

    python benchmarks/peers_torch.py cuda full|small

In bfloat16 under autocast; captions of COCO's lengths. Rollouts in the forms of
`rollouts_torch.py`, the rest as in `maximum_likelihood_torch.py` (which draws and searches all 20
steps).
"""

import json
import sys
import time

import numpy as np
import torch
from maximum_likelihood_torch import torch_cases, waited
from rollouts_torch import Rollouts
from workload import IMAGE

from capjax.compiled.lengths import captions_like_coco, end_logits


def tell(name: str, seconds: float) -> None:
    print(json.dumps({"name": name, "seconds": seconds}), flush=True)


def main(device: str, size: str) -> None:
    small = size == "small"
    number, searched, rows, n = (16, 2, (2,), 2) if small else (4096, 256, (64, 512), 16)
    for name, seconds in torch_cases(3, "bfloat16", device, number, searched).items():
        tell(name, seconds)
    rng = np.random.default_rng(0)
    for batch in rows:
        captions = captions_like_coco(rng, batch)
        images = rng.normal(size=(batch, IMAGE)).astype(np.float32)
        forms = Rollouts(captions, images, end_logits(), n, device).forms()
        for name, run in reversed(forms.items()):
            whole = waited(run, device)
            with torch.autocast(device, torch.bfloat16):
                whole()
                begin = time.perf_counter()
                whole()
            tell(f"rollouts, B = {batch}, n = {n}: {name}", time.perf_counter() - begin)


if __name__ == "__main__":
    main(*sys.argv[1:])
