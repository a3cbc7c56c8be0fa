"""The batches of a stage, read ahead: the next ones while one is learnt from."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from capjax.data.batches import images_of
from capjax.parallel import own_rows
from capjax.training.stage import Run, Stage

AHEAD = 2  # batches that are read while one is learnt from


def batches(
    run: Run, stage: Stage, begin: int, steps: int
) -> Generator[dict[str, Any], None, None]:
    """The batches of steps `begin` to `steps`: this process's `rows`, and of images that are not
    kept on the device also `taken`, read from the disk while the steps before are computed."""
    arrays, images = run.training.arrays, run.training.images
    of = np.asarray(arrays["of"])

    def one(step: int) -> dict[str, Any]:
        rows = own_rows(stage.rows(step))
        if "image" in arrays:
            return {"rows": rows}
        wanted = images_of(stage.kind, of, rows)
        return {"rows": rows, "taken": {k: images[i] for k, i in wanted.items()}}

    with ThreadPoolExecutor(1) as pool:
        asked: deque[Future] = deque()
        try:
            for step in range(begin, steps):
                asked.append(pool.submit(one, step))
                if len(asked) > AHEAD:
                    yield asked.popleft().result()
            while asked:
                yield asked.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
