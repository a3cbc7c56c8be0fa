"""How long is the longest common subsequence of a caption and a reference? ROUGE-L (Lin, 2004).

The same numbers as pycocoevalcap's `Rouge`. The subsequence is found by the bit-parallel recurrence
of Hyyrö (2004): a set bit of V is a column of the dynamic program that does not grow.
"""

import jax
import jax.numpy as jnp
from jax import lax

from capjax.metrics.matches import Bits, check_images, count, match_bits, of_ids, present, tokens

BETA = 1.2  # the weight of recall in the F-measure


@of_ids
@jax.jit
def rouge_l(candidates: jax.Array, references: jax.Array) -> jax.Array:
    """ROUGE-L of each candidate, as pycocoevalcap's `Rouge`.

    Precision and recall are each the best over the references. A text without words counts as one
    empty word there, and so here: it equals another such text and nothing else.

    Args:
      candidates: int32[N, T].
      references: int32[N, R, T2]; rows that begin with -1 are no captions.
    Returns:
      float32[N], 0 to 1; NaN where there is no reference.
    Raises:
      ValueError: arrays of other shapes or types, or of different numbers of images.
    """
    check_images(candidates, references)
    ours, theirs = tokens(candidates)[:, None], tokens(references)
    lengths = [(x >= 0).sum(-1, dtype=jnp.int32) for x in (ours, theirs)]
    common = _common(match_bits(ours, theirs))  # [N, R]
    common += ((lengths[0] == 0) & (lengths[1] == 0)).astype(jnp.int32)
    real = present(references)
    common = jnp.where(real, common, 0).astype(jnp.float32)
    sizes = [jnp.maximum(x, 1).astype(jnp.float32) for x in lengths]
    precision, recall = ((common / size).max(-1) for size in sizes)
    both = recall + BETA**2 * precision
    f = (1 + BETA**2) * precision * recall / jnp.where(both > 0, both, 1)
    return jnp.where(real.any(-1), f, jnp.nan)


def _common(bits: Bits) -> jax.Array:
    """The length of the longest common subsequence, from `match_bits`: [..., T] -> int32[...]."""

    def read(columns: Bits, word: Bits) -> tuple[Bits, None]:
        after = []
        carry = jnp.zeros_like(word[0])
        for v, m in zip(columns, word, strict=True):
            u = v & m
            low = v + u
            summed = low + carry
            carry = ((low < v) | (summed < low)).astype(jnp.uint32)
            after.append(summed | (v & ~m))
        return tuple(after), None

    words = tuple(jnp.moveaxis(x, -1, 0) for x in bits)
    full = tuple(~jnp.zeros_like(x[0]) for x in words)
    return count(tuple(~v for v in lax.scan(read, full, words)[0]))
