"""Photos through a frozen encoder, once, into `.npy` files that training maps into memory."""

import contextlib
import re
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from capjax.data.photo_pixels import Unreadable, squashed
from capjax.data.resumable import GrowingArray, only_process
from capjax.errors import InputError
from capjax.parallel import processes, shared_out, wait_for_all
from capjax.parallel.together import gathered, leader
from capjax.terminal.progress import Progress


class Encoder(NamedTuple):
    """Any function of images, with what is needed to feed it and to name what it made."""

    name: str  # safe as a file name; another network or other weights, another name
    size: int  # pixels a side of the images it takes
    apply: Callable[[np.ndarray], Any]  # uint8 [N, size, size, 3] -> array [N, ...]
    dtype: DTypeLike = np.float32  # how its output is stored


def feature_path(
    cache: str | Path, fingerprint: str, split: str, encoder: str, preprocessing: str
) -> Path:
    """Where the features of a split lie: cache/fingerprint/encoder/preprocessing/split.npy.

    fingerprint: the dataset's; preprocessing: in a word what was done to the images, e.g.
    "squash-224". Raises InputError where a part is not a plain file name.
    """
    for part in (fingerprint, split, encoder, preprocessing):
        if not re.fullmatch(r"\w[\w.+-]*", part):
            raise InputError(
                f"features cannot be filed under {part!r}: use letters, digits, and . _ + -"
            )
    return Path(cache, fingerprint, encoder, preprocessing, f"{split}.npy")


def read_photo(path: str | Path, size: int = 224) -> np.ndarray:
    """A photo file as uint8 [size, size, 3].

    Which files are photos, and what pixels each has, says `photo_pixels`. Turned upright by its
    EXIF orientation, laid on white where transparent, and squashed to a square (bicubic,
    antialiased): its proportions are not kept, as they were not in the photos that our captioners
    were trained on, and nothing is cropped away that a caption may speak of. A photo of the right
    size comes back untouched. Raises InputError, naming the file, where it is missing, empty, cut
    short, too large to be decoded safely, or no photo.
    """
    try:
        return squashed(path, size)
    except FileNotFoundError as error:
        raise InputError(f"there is no photo {path}: put it there, or take it out") from error
    except Unreadable as error:
        raise InputError(f"the photo {path} {error}") from error


def extract(
    image: Callable[[int], np.ndarray],
    count: int,
    encoder: Callable[[np.ndarray], Any],
    path: str | Path,
    *,
    batch_size: int = 32,
    dtype: DTypeLike = np.float32,
    ids: Sequence[str] | None = None,
    label: str = "features",
    threads: int = 4,
) -> np.memmap:
    """The encoder's output for images 0..count-1, computed once and kept in the file `path`.

    image: index -> uint8 [H, W, 3], all of one size, asked from several threads. encoder: any
    function uint8 [batch_size, H, W, 3] -> [batch_size, ...]; it always gets whole batches, the
    last one filled up by repeating its last image. ids: what the images are called in messages.
    Returns a read-only array [count, ...] of `dtype`, mapped from the file. A killed extraction,
    called again with the same arguments, goes on after its last whole batch; a second process waits
    for the first. Raises InputError where an image or the encoder's output is not what it should
    be, or where the file does not fit on the disk.
    """
    path, dtype = Path(path), np.dtype(dtype)
    if count < 1:
        raise InputError(f"there are no images to extract {label} from")
    if all(gathered(path.exists())):
        return finished(path, count, dtype)
    names = ids if ids is not None else [f"image {i}" for i in range(count)]

    def batches(start: int) -> Generator[np.ndarray, None, None]:
        firsts = range(start, count, batch_size)
        mine = firsts[processes.index() :: processes.count()]
        reader = read_ahead(image, mine, count, batch_size, names, threads)

        def one(first: int) -> np.ndarray:
            return encode(encoder, next(reader), batch_size, dtype, names[first:])

        with contextlib.closing(reader):
            yield from shared_out(one, firsts)

    # Other batch sizes can mean other last bits, so a batch size is gone on with or given up.
    gather_rows(path, count, f"{dtype} in batches of {batch_size}", batches, label)
    return finished(path, count, dtype)


def gather_rows(
    path: Path,
    count: int,
    plan: str,
    batches: Callable[[int], Generator[np.ndarray, None, None]],
    label: str,
) -> None:
    """Writes an array row by row, or goes on with it, in each folder that processes see.

    Args:
      path, count, plan: as of `GrowingArray`.
      batches: from a row on, all the others, on every process.
    """
    writes = leader(path.parent) == processes.index()
    with only_process(path) if writes else contextlib.nullcontext():
        rows = GrowingArray(path, count, plan) if writes and not path.exists() else None
        start = min(gathered(rows.done if rows else count))
        with (
            contextlib.closing(batches(start)) as some,
            Progress(count, label, "images", done=start, shown=processes.first()) as bar,
        ):
            for batch in some:
                start += len(batch)
                if rows is not None and rows.done < start:
                    rows.append(batch[rows.done - start :])
                bar.update(len(batch))
        if rows is not None:
            rows.finish()
    wait_for_all()


def finished(path: Path, count: int, dtype: np.dtype) -> np.memmap:
    """The file of a finished extraction; raises InputError where it is damaged or another's."""
    try:
        features = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the features {path} are damaged: delete the file ({error})") from error
    if features.shape[:1] != (count,) or features.dtype != dtype:
        raise InputError(
            f"the features {path} are {features.dtype} {features.shape} where {dtype} of {count} "
            "images were expected: delete the file, or choose another cache"
        )
    return features


def read_ahead(
    image: Callable[[int], np.ndarray],
    firsts: Sequence[int],
    count: int,
    batch_size: int,
    names: Sequence[str],
    threads: int,
) -> Generator[np.ndarray, None, None]:
    """Batches uint8 [<= batch_size, H, W, 3] in order, the next two read while one is encoded.

    firsts: the first images of the batches.
    """
    with ThreadPoolExecutor(threads) as pool:
        asked: deque[Future] = deque()
        upcoming = (i for first in firsts for i in range(first, min(first + batch_size, count)))
        shape = None
        try:
            for first in firsts:
                while len(asked) < 3 * batch_size and (i := next(upcoming, None)) is not None:
                    asked.append(pool.submit(image, i))
                batch = []
                for i in range(first, min(first + batch_size, count)):
                    array = asked.popleft().result()
                    shape = array.shape if shape is None else shape
                    if array.dtype != np.uint8 or array.ndim != 3 or array.shape != shape:
                        raise InputError(
                            f"{names[i]} is {array.dtype} {array.shape} where all images are to be "
                            f"uint8 {shape}: bring them to one size first"
                        )
                    batch.append(array)
                yield np.stack(batch)
        finally:
            pool.shutdown(cancel_futures=True)


def encode(
    encoder: Callable[[np.ndarray], Any],
    images: np.ndarray,
    batch_size: int,
    dtype: np.dtype,
    names: Sequence[str],
) -> np.ndarray:
    """The checked output for one batch, [len(images), ...] of `dtype`."""
    # Always the same shape: a jitted encoder compiles once.
    filler = np.repeat(images[-1:], batch_size - len(images), axis=0)
    output = np.asarray(encoder(np.concatenate([images, filler])))
    if output.shape[:1] != (batch_size,):
        raise InputError(
            f"the encoder made {output.shape} of {batch_size} images; it should keep the first axis"
        )
    if dtype.kind != "f" and output.dtype != dtype:
        raise InputError(f"the encoder made {output.dtype} where {dtype} is to be stored")
    with np.errstate(over="ignore"):  # reported just below
        rows = output[: len(images)].astype(dtype)
    sound = np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
    if not sound.all():
        raise InputError(
            f"the encoder's output for {names[int(np.argmin(sound))]} has numbers that are not "
            f"finite as {dtype}: look at that image, or store a wider dtype"
        )
    return rows
