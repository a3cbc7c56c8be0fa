"""Strict JAX for every test: four virtual CPU devices, no silent dtype or rank promotion."""

import os

# Read when jax is first imported. With several devices queued on few cores XLA's collectives can
# starve; NPROC gives them threads of their own.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)
