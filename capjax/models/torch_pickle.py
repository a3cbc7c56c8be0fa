"""Tensors out of a torch file of the old (not zip) kind, without torch and without running code."""

import collections
import io
import math
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from capjax.errors import InputError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Storage(NamedTuple):
    """A flat run of numbers, whose bytes stand after the pickles."""

    key: str
    dtype: str
    size: int


class Tensor(NamedTuple):
    """A strided view of a storage, all in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Rebuild:
    """What the file believes to be torch._utils._rebuild_tensor_v2."""

    __slots__ = ()  # a pickle may try to set attributes on what it names

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
        return Tensor(storage, offset, shape, strides)


class StateDict(collections.OrderedDict):
    """Drops the `_metadata` that torch hangs on a state dict."""

    def __setstate__(self, state: Any) -> None:
        pass


# Everything that a file may name. The values are ours: nothing is imported on a file's word.
DTYPES = {("torch", "FloatStorage"): "<f4", ("torch", "LongStorage"): "<i8"}
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): StateDict,
    ("torch._utils", "_rebuild_tensor_v2"): Rebuild(),
    **DTYPES,
}


class TensorsOnly(pickle.Unpickler):
    """An unpickler to which the names above are all the names there are."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> Storage:
        kind, dtype, key, _, size, view = pid
        if kind != "storage" or dtype not in DTYPES.values() or view is not None:
            raise pickle.UnpicklingError("it holds something that is not a plain tensor")
        return Storage(key, dtype, size)


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a state dict saved by torch before 1.6, by name.

    The pickle may name four things, each replaced by a stand-in, so a hostile file can at most fail
    to load. Returns float32 and int64 arrays of the stored shapes. Raises InputError, naming the
    file, where it cannot be read, is cut short, or holds anything but tensors.
    """
    try:
        content = Path(path).read_bytes()
        return parse(content)
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror or error}") from error
    # A damaged pickle raises nearly anything: what counts is that it is not a file of tensors.
    except Exception as error:
        raise InputError(
            f"{path} is not a torch file of plain tensors in the old format ({error}); "
            "install the package that holds it again, or pass another file"
        ) from error


def parse(content: bytes) -> dict[str, np.ndarray]:
    """The tensors in the bytes of such a file; raises whatever goes wrong."""
    file = io.BytesIO(content)
    if TensorsOnly(file).load() != MAGIC or TensorsOnly(file).load() != PROTOCOL:
        raise ValueError("it does not begin as one")
    if not TensorsOnly(file).load()["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    tensors = TensorsOnly(file).load()
    keys = TensorsOnly(file).load()
    storages = {t.storage.key: t.storage for t in tensors.values()}
    numbers = {}
    for key in keys:
        _, dtype, size = storages[key]
        if int.from_bytes(file.read(8), "little") != size:
            raise ValueError(f"storage {key} has another length than it should")
        numbers[key] = np.frombuffer(file.read(size * np.dtype(dtype).itemsize), dtype, size)
    return {name: strided(numbers[t.storage.key], t) for name, t in tensors.items()}


def strided(numbers: np.ndarray, tensor: Tensor) -> np.ndarray:
    """A tensor's own copy of its elements, after checking that they lie inside its storage."""
    last = tensor.offset + sum(
        (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
    )
    negative = min((tensor.offset, *tensor.shape, *tensor.strides)) < 0
    if negative or max(last + 1, math.prod(tensor.shape)) > numbers.size:
        raise ValueError("a tensor reaches beyond its storage")
    strides = tuple(s * numbers.itemsize for s in tensor.strides)
    view = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.shape, strides)
    return np.array(view, order="C")
