"""Do the arrays that a function is given belong together? What does not agree is refused.

JAX broadcasts, clips and fills in where arrays do not fit, and so would give one image's number for
another. Shapes are looked at always, in a trace too; numbers where there are any.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def agree(**arrays: Any) -> int:
    """N, with which every array leads, of all that are named: arrays, or trees of them.

    Raises ValueError, with the names and shapes of two, where they do not lead with the same.
    """
    first: tuple[str, Any] | None = None
    for name, tree in arrays.items():
        for path, x in jax.tree_util.tree_leaves_with_path(tree):
            called = name + jax.tree_util.keystr(path)
            check_array(x, called)
            if not x.ndim:
                raise ValueError(
                    f"{called} is {spec(x)}; give an array led by a row for each image"
                )
            if first is None:
                first = called, x
            elif x.shape[0] != first[1].shape[0]:
                raise ValueError(
                    f"{first[0]} {spec(first[1])} and {called} {spec(x)} do not agree: they lead"
                    f" with {first[1].shape[0]} and {x.shape[0]}; give both as many rows"
                )
    if first is None:
        raise ValueError(
            f"{' and '.join(arrays)} hold no array; give one with a row for each image"
        )
    return first[1].shape[0]


def check_context(context: Any, name: str = "context") -> int:
    """N of a context; raises ValueError unless it is a dict of arrays led by N, finite."""
    if not isinstance(context, Mapping) or jax.tree_util.all_leaves([context]):
        raise ValueError(f"{name} is {spec(context)}; give a dict of arrays, as {{'image': ...}}")
    n = agree(**{name: context})
    for path, x in jax.tree_util.tree_leaves_with_path(context):
        if not jnp.issubdtype(x.dtype, jnp.floating) or not seen(x):
            continue
        with jax.ensure_compile_time_eval():
            finite = bool(jnp.isfinite(x).all())
        if not finite:
            called = name + jax.tree_util.keystr(path)
            raise ValueError(f"{called} {spec(x)} holds NaN or infinity; give finite numbers")
    return n


def check_batch(batch: Any, *names: str) -> int:
    """Rows of an algorithm's batch; raises ValueError where what it reads is missing or disagrees.

    names: of what is read, such as "image".
    """
    if not isinstance(batch, Mapping) or (missing := [name for name in names if name not in batch]):
        lacks = f"lacks {missing}" if isinstance(batch, Mapping) else f"is {spec(batch)}"
        raise ValueError(f"the batch {lacks}; give a dict of arrays with {', '.join(names)}")
    return agree(batch=batch)


def check_some(n: int, name: str = "context") -> None:
    """Raises ValueError where there is no row."""
    if n < 1:
        raise ValueError(f"{name} holds no row; give at least one")


def check_choices(contexts: Mapping[str, Any], name: str) -> None:
    """Raises ValueError unless a context's leaves [N, M, ...] hold as many images M each."""
    leaves = jax.tree_util.tree_leaves_with_path(contexts)
    shapes = {name + jax.tree_util.keystr(path): list(x.shape) for path, x in leaves}
    sizes = {shape[1] if len(shape) > 1 else 0 for shape in shapes.values()}
    if len(sizes) > 1 or 0 in sizes:
        every = " and ".join(f"{called} {shape}" for called, shape in shapes.items())
        raise ValueError(f"{every} must be [N, M, ...] with as many images M each, at least 1")


def check_captions(
    captions: Any, axes: str = "NT", name: str = "captions", size: int | None = None
) -> None:
    """Raises ValueError unless captions are integers of these axes, e.g. "NKT", ids from 0 up.

    size: V, where it is known; what is not below it is refused, too.
    """
    check_array(captions, name)
    if captions.ndim != len(axes) or not jnp.issubdtype(captions.dtype, jnp.integer):
        raise ValueError(f"{name} must be int32[{', '.join(axes)}], not {spec(captions)}")
    if not captions.size:
        raise ValueError(f"{name} is {spec(captions)} and holds nothing; give at least one word")
    if not seen(captions):
        return
    with jax.ensure_compile_time_eval():
        least, most = int(captions.min()), int(captions.max())
    if least < 0 or (size is not None and most >= size):
        known = "0 and up" if size is None else f"0 to {size - 1}"
        raise ValueError(
            f"{name} {spec(captions)} holds the id {least if least < 0 else most}, and this model"
            f" knows {known}; give ids of its own vocabulary or classes"
        )


def check_typed(key: Any) -> None:
    """Raises ValueError unless a key, or an array of them, is typed."""
    if not hasattr(key, "dtype") or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise ValueError(f"key is {spec(key)} and no typed key; make it by jax.random.key(seed)")


def check_key(key: Any, n: int | None = None) -> None:
    """Raises ValueError unless a key is typed, and one in all or, where n is told, one a row."""
    check_typed(key)
    if key.ndim and key.shape != (n,):
        rows = "" if n is None else f", or one for each of the {n} rows: [{n}]"
        raise ValueError(f"key is {spec(key)}; give one key{rows}")


def check_broadcast(x: Any, like: Any, name: str, others: str) -> None:
    """Raises ValueError, naming both shapes, unless x broadcasts to what it is to be like."""
    shape, wanted = np.shape(x), np.shape(like)
    short = len(shape) <= len(wanted)
    if not short or any(a not in (1, b) for a, b in zip(shape[::-1], wanted[::-1], strict=False)):
        raise ValueError(
            f"{name} {list(shape)} and {others} {list(wanted)} do not agree; give a number, or one"
            " for each"
        )


def check_example(shape: tuple[int, ...], **arrays: Any) -> None:
    """Raises ValueError, naming both shapes, where an array of one example is not of this shape."""
    for name, x in arrays.items():
        if np.shape(x) != shape:
            raise ValueError(
                f"{name} is {list(np.shape(x))} where {list(shape)} is asked for; this is of one"
                " example, so vmap it for a batch"
            )


def check_array(x: Any, name: str) -> None:
    """Raises ValueError where something is no array of numbers or keys."""
    if not isinstance(x, (jax.Array, np.ndarray)):
        raise ValueError(f"{name} is {spec(x)}; give an array")
    kinds = jnp.floating, jnp.integer, jnp.bool_, jax.dtypes.extended  # the last are typed keys
    if not any(jnp.issubdtype(x.dtype, kind) for kind in kinds):
        raise ValueError(f"{name} is {spec(x)}; give numbers")


def seen(x: jax.Array | np.ndarray) -> bool:
    """Whether an array's numbers can be looked at here: outside a trace, and not of other hosts."""
    if isinstance(x, jax.core.Tracer):
        return False
    return isinstance(x, np.ndarray) or x.is_fully_addressable


def told(number: Any) -> bool:
    """Whether a setting's number can be looked at here: it is no argument of what is traced."""
    return not isinstance(number, jax.core.Tracer)


def spec(x: Any) -> str:
    """What something is, for a sentence: "float32[4, 8]", "of type list"."""
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return f"{x.dtype}{list(x.shape)}"
    return "None" if x is None else f"of type {type(x).__name__}"
