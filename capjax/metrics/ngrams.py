"""In how many images' references does an n-gram occur? A table that answers on the device.

An n-gram is found by a chain: (the place of its first n - 1 words, its last word) -> its place.
Both halves of this key are compared, so no hash error can enter a score.
"""

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from capjax.errors import InputError
from capjax.metrics.matches import ORDERS, check_width, later

_EMPTY = -2  # the prefix of a place that holds no n-gram; -1 is the prefix of none found
_ROOM = 2.5  # places an entry, at least: with two places to choose from, 2 would be too few
_LEAST = 2048  # places: small tables are of one size, and share a compiled program


class NgramTable(NamedTuple):
    """The n-grams, n = 1..4, that the references of two images or more hold, by cuckoo hashing.

    An n-gram of order n lies at one of two places given by its key, in arrays of S_n places (a
    power of two). Those of a single image are left out: they weigh as much as unseen ones. The end
    counts as a word here; who does not count it never asks for it.
    """

    log_images: jax.Array  # float32 []: ln of the number of images, the weight of an unseen n-gram
    salt: jax.Array  # uint32 [4]: what the hash of each order begins with
    prefix: tuple[jax.Array, ...]  # int32 [S_n]: the place of the first n - 1 words; 0 for n = 1
    token: tuple[jax.Array, ...]  # int32 [S_n]: the last word
    idf: tuple[jax.Array, ...]  # float32 [S_n]: ln(images / images whose references hold it)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the table to an .npz file, whole or not at all; InputError where it cannot be."""
        path = Path(path)
        part = path.with_name(path.name + ".part")
        arrays = {"log_images": self.log_images, "salt": self.salt}
        for name in ("prefix", "token", "idf"):
            arrays |= {f"{name}_{n + 1}": x for n, x in enumerate(getattr(self, name))}
        try:
            with part.open("wb") as file:
                np.savez(file, allow_pickle=False, **{k: np.asarray(x) for k, x in arrays.items()})
            part.replace(path)
        except OSError as error:
            raise InputError(
                f"cannot write the n-gram table {path}: {error.strerror}; name a file"
            ) from error
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "NgramTable":
        """Reads what `save` wrote. Raises InputError for a missing, damaged or foreign file."""
        try:
            with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            rows = {
                name: tuple(arrays[f"{name}_{n + 1}"] for n in range(ORDERS))
                for name in ("prefix", "token", "idf")
            }
            table = cls(log_images=arrays["log_images"], salt=arrays["salt"], **rows)
        except FileNotFoundError:
            raise InputError(f"there is no n-gram table at {path}") from None
        except IsADirectoryError:
            raise InputError(f"{path} is a folder and no n-gram table; name the file") from None
        except (*_UNREADABLE, KeyError, TypeError):  # TypeError: an .npy file
            raise InputError(_DAMAGED.format(path)) from None
        sound = table.log_images.shape == () and table.salt.shape == (ORDERS,)
        sound &= table.log_images.dtype == np.float32 and table.salt.dtype == np.uint32
        for prefix, token, idf in zip(table.prefix, table.token, table.idf, strict=True):
            sound &= prefix.shape == token.shape == idf.shape == (prefix.size,)
            sound &= prefix.size > 0 and prefix.size & (prefix.size - 1) == 0
            sound &= prefix.dtype == token.dtype == np.int32 and idf.dtype == np.float32
        if not sound:
            raise InputError(_DAMAGED.format(path))
        return jax.tree.map(jnp.asarray, table)


_UNREADABLE = (
    *(OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error),
    *(NotImplementedError, RuntimeError),  # a zip that says it is packed in another way, or secret
)
_DAMAGED = "{} is not an n-gram table or is damaged; build it again with ngram_table"


def ngram_table(references: Any) -> NgramTable:
    """Counts in how many images each n-gram occurs, n = 1..4: CIDEr's document frequencies.

    Args:
      references: int32[M, R, T], the R references of M images; rows that begin with -1 are no
        captions. Built on the host.
    Returns:
      NgramTable, with the number of images for what is unseen.
    Raises:
      ValueError: references that are not int32[M, R, T] of at least one image.
    """
    references = np.asarray(references)
    if references.ndim != 3 or not np.issubdtype(references.dtype, np.integer):
        raise ValueError(
            f"references must be int32[images, references, words], not {references.dtype}"
            f"{list(references.shape)}"
        )
    check_width("references", references)
    references = references.astype(np.int32)
    if not references.size:
        raise ValueError(f"references {list(references.shape)} hold no image; give at least one")
    images, each, length = references.shape
    ends = np.cumsum(references == 0, -1)
    real = (ends == (references == 0)) & (references[..., :1] >= 0) & (references >= 0)
    at = np.flatnonzero(real)
    token = references.reshape(-1)[at].astype(np.int64)
    image, begins = at // (each * length), at % length == 0
    place = np.zeros(len(at), np.int64)  # of the words before, at each position; -1: none
    columns: dict[str, list[np.ndarray]] = {"prefix": [], "token": [], "idf": []}
    salts = []
    for n in range(ORDERS):
        if n:
            place = np.where(begins, -1, np.roll(place, 1))
        # No n-gram is held by more images than its first words are.
        possible = np.flatnonzero(place >= 0)
        keys, gram = np.unique(place[possible] << 32 | token[possible], return_inverse=True)
        pairs = np.sort(gram * images + image[possible])  # np.unique is 50 times slower here
        once = np.diff(pairs, prepend=-1) != 0  # an image counts once
        documents = np.bincount(pairs[once] // images, minlength=len(keys))
        kept = documents > 1
        entries = {
            "prefix": (keys[kept] >> 32).astype(np.int32),
            "token": (keys[kept] & 0xFFFFFFFF).astype(np.int32),
            "idf": (np.log(images) - np.log(documents[kept])).astype(np.float32),
        }
        size = _LEAST
        while size < _ROOM * kept.sum():
            size *= 2
        salt, where = _settle(entries["prefix"], entries["token"], size)
        salts.append(salt)
        for name, values in entries.items():
            column = np.full(size, _EMPTY, values.dtype)
            column[where] = values
            columns[name].append(column)
        places = np.full(len(keys), -1)
        places[kept] = where
        place = np.full(len(at), -1)
        place[possible] = places[gram]
    return NgramTable(
        jnp.float32(np.log(images)),
        jnp.array(salts, jnp.uint32),
        *(tuple(map(jnp.asarray, columns[name])) for name in ("prefix", "token", "idf")),
    )


def ngram_idf(table: NgramTable, tokens: jax.Array) -> list[jax.Array]:
    """ln(images / images that hold it) of every n-gram; one that is unseen has ln(images).

    tokens: int32[..., T], negative where there is none -> for n = 1..4 float32[..., T], where an
    n-gram stands at the position of its last word; of no meaning where there is no n-gram.
    """
    weights = []
    place = jnp.zeros_like(tokens)
    for n in range(ORDERS):
        if n:
            place = later(place, -1)
        prefix, token, idf = table.prefix[n], table.token[n], table.idf[n]
        one, two = _places(place, tokens, table.salt[n], len(idf))
        matches = []
        for at in (one, two):
            same = prefix.at[at].get(mode="promise_in_bounds") == place
            same &= token.at[at].get(mode="promise_in_bounds") == tokens
            matches.append(same)
        at = jnp.where(matches[0], one, two)
        hit = matches[0] | matches[1]
        weights.append(jnp.where(hit, idf.at[at].get(mode="promise_in_bounds"), table.log_images))
        place = jnp.where(hit, at, -1)
    return weights


def _places(prefix: Any, token: Any, salt: Any, size: int) -> tuple[Any, Any]:
    """The two places where an n-gram may lie: of int32 arrays, numpy's or jax's alike."""
    u = np.uint32
    x = prefix.astype(u) * u(0x9E3779B1) + salt
    x = (x ^ x >> u(16)) * u(0x85EBCA6B) ^ token.astype(u) * u(0xC2B2AE35)
    x = (x ^ x >> u(15)) * u(0x2C1B3C6D)
    x = x ^ x >> u(12)
    y = x * u(0x297A2D39)
    y = y ^ y >> u(15)
    return (x & u(size - 1)).astype(np.int32), (y & u(size - 1)).astype(np.int32)


def _settle(prefix: np.ndarray, token: np.ndarray, size: int) -> tuple[int, np.ndarray]:
    """A salt and a place for each entry, one of its two and its own."""
    rng = np.random.default_rng(0)
    for salt in range(1, 1000):
        choices = np.stack(_places(prefix, token, np.uint32(salt), size))
        side = np.zeros(len(token), np.int64)
        owner = np.full(size, -1)
        homeless = np.arange(len(token))
        for _ in range(300):
            if not homeless.size:
                return salt, choices[side, np.arange(len(token))]
            # All move in at once; of those who want one place the last stays, in random order, for
            # else the same few could chase one another for ever.
            homeless = rng.permutation(homeless)
            where = choices[side[homeless], homeless]
            before = owner[where]
            owner[where] = homeless
            lost = homeless[owner[where] != homeless]
            homeless = np.unique(np.concatenate([before[before >= 0], lost]))
            side[homeless] ^= 1
    raise AssertionError("no salt parts the n-grams")  # one in two does
