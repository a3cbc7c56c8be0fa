"""Strict JAX for every test: four virtual CPU devices, no silent dtype or rank promotion."""

import os
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

# Read when jax is first imported. With several devices queued on few cores XLA's collectives can
# starve; NPROC gives them threads of their own.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile far more than they compute.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import jax
import pytest
from small_runs import paint_photos, train_here

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# Each compiled program holds mappings of memory, of which Linux gives a process 65,530: at the last
# one XLA dies of a segmentation fault.
MAPPINGS = 30_000


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """After a file of tests that left many compiled programs behind, they are given up."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPPINGS:
        jax.clear_caches()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_photos(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is cached lies in a folder of the session's: data, and compiled programs."""
    folder = tmp_path_factory.mktemp("caches")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPJAX_CACHE", str(folder / "data"))
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder / "programs"))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        yield
        jax.config.update("jax_compilation_cache_dir", None)


@pytest.fixture(scope="session")
def recipe(photos: Path, caches: None) -> Callable[..., dict]:
    """(**{"dotted.setting": value}) -> the configuration of a run of 40 steps on `photos`."""
    path = Path(__file__).parents[1] / "configs" / "mle.py"

    def configuration(**changes: object) -> dict:
        config = runpy.run_path(str(path))["get_config"]("folder")
        small = {
            "data.path": str(photos),
            "data.encoder": "pixels64",
            "data.min_count": 1,
            "data.max_len": 5,
            "dim": 16,
            "dropout": 0.1,
            "mle.epochs": 10.0,
            "mle.batch": 8,
            "mle.learning_rate": 0.01,
            "mle.warmup": 2,
            "mle.average": 0.5,
            "decoding.method": "greedy",
            "decoding.max_len": 5,
            "validate_every": 10,
            "save_every": 5,
            "log_every": 2,
        }
        config.update_from_flattened_dict(small | changes)
        config = config.to_dict()
        return config | {"stages": list(config["stages"])}

    return configuration


@pytest.fixture(scope="session")
def trained(recipe: Callable[..., dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained here and never cut."""
    workdir = tmp_path_factory.mktemp("runs") / "trained"
    train_here(recipe(), workdir)
    return workdir
