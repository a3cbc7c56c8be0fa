"""Which images look most alike? Where mined negatives come from."""

import numpy as np

BLOCK = 1000  # images that are compared with all at once
TILES = 8  # a side: what pixels are averaged to


def nearest(images: np.ndarray, count: int) -> np.ndarray:
    """The images most like each image: by the cosine of their features, less the mean of all.

    Args:
      images: [M, D] features; [M, R, D] regions, which are averaged; uint8[M, H, W, 3] pixels,
        averaged to 8 x 8.
      count: how many of each, below M.
    Returns:
      int32[M, count], the most alike first; never the image itself.
    Raises:
      ValueError: count is not from 1 to M - 1.
    """
    total = len(images)
    if not 1 <= count < total:
        raise ValueError(f"the nearest {count} of {total} images must be from 1 to {total - 1}")
    seen = np.concatenate([compared_by(images[i : i + BLOCK]) for i in range(0, total, BLOCK)])
    seen -= seen.mean(0)
    seen /= np.maximum(np.linalg.norm(seen, axis=1, keepdims=True), 1e-12)
    result = np.empty((total, count), np.int32)
    for first in range(0, total, BLOCK):
        alike = seen[first : first + BLOCK] @ seen.T
        rows = np.arange(len(alike))
        alike[rows, first + rows] = -np.inf
        best = np.argpartition(-alike, count - 1, 1)[:, :count]
        order = np.argsort(-np.take_along_axis(alike, best, 1), 1, kind="stable")
        result[first : first + BLOCK] = np.take_along_axis(best, order, 1)
    return result


def compared_by(images: np.ndarray) -> np.ndarray:
    """What images are compared by: float32[N, D]."""
    x = np.asarray(images, np.float32)
    if x.ndim == 3:
        return x.mean(1)
    if x.ndim == 4:
        n, height, width, colours = x.shape
        tiles = x.reshape(n, TILES, height // TILES, TILES, width // TILES, colours)
        x = tiles.mean((2, 4)).reshape(n, -1)
    return x.copy()
