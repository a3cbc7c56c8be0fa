"""Strict JAX for every test: four virtual CPU devices, no silent dtype or rank promotion."""

import ctypes
import fcntl
import gc
import os
import resource
import runpy
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

# Read when jax is first imported. With several devices queued on few cores XLA's collectives can
# starve; NPROC gives them threads of their own.
os.environ.setdefault("NPROC", "16")
os.environ.setdefault("JAX_NUM_CPU_DEVICES", "4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests compile far more than they compute. XLA dies of a flag that it does not know.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + " --xla_cpu_use_fusion_emitters=false" * version("jaxlib").startswith("0.10."),
)

import jax
import pytest
from jax import lax
from small_runs import paint_photos, train_here

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


# Each compiled program holds mappings of memory, of which Linux gives a process 65,530: at the last
# one XLA dies of a segmentation fault. And programs of all tests together fill gigabytes.
MAPPINGS = 30_000
PAGES = 2 * 2**30 // resource.getpagesize()


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """After a file of tests that left many compiled programs behind, they are given up."""
    gc.freeze()  # the collector need not look through what others left
    yield
    gc.unfreeze()
    trace_anew_for("cpu")
    maps, memory = Path("/proc/self/maps"), Path("/proc/self/statm")
    if not maps.exists():
        return
    if maps.read_bytes().count(b"\n") > MAPPINGS or int(memory.read_text().split()[1]) > PAGES:
        jax.clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs and commands first: a long file at the end would leave the other worker idle.

    Of each file what is of the accelerators' form comes last, so that little is traced anew.
    """
    files = {path: place for place, path in enumerate(dict.fromkeys(x.path for x in items))}

    def place(item: pytest.Item) -> tuple[bool, int, bool]:
        form = getattr(item, "callspec", None) and item.callspec.params.get("form")
        late = item.path.parent.name not in ("training", "tests")
        return late, files[item.path], form == "accelerator"

    items.sort(key=place)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


_traced = ["cpu"]  # the form that JAX's caches may hold


def trace_anew_for(form: str) -> None:
    """Gives up what was traced in another form."""
    if _traced != [form]:
        jax.clear_caches()
        _traced[:] = [form]


@pytest.fixture(params=["cpu", "accelerator"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both forms of what CPUs and accelerators want differently, here on a CPU."""

    def of_accelerators(*args, default, **by_platform):
        return default(*args)

    trace_anew_for(request.param)
    if request.param == "accelerator":
        monkeypatch.setattr(lax, "platform_dependent", of_accelerators)
    return request.param


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What others leave among temporary files, as TFDS does, goes with the tests' own."""
    folder = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", str(folder))
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """(name, make) -> a folder that `make(folder)` has made, for all workers by the first of them.

    Nobody writes to it.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def made(name: str, make: Callable[[Path], object]) -> Path:
        with (folder / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / f"{name}.made").exists():
                shutil.rmtree(folder / name, ignore_errors=True)
                make(folder / name)
                (folder / f"{name}.made").touch()
        return folder / name

    return made


@pytest.fixture(scope="session")
def photos(made_once: Callable[..., Path]) -> Path:
    return made_once("photos", paint_photos)


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
def trained(
    recipe: Callable[..., dict],
    made_once: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of a run that was trained here and never cut; a copy that no other worker has."""
    run = made_once("trained", lambda workdir: train_here(recipe(), workdir))
    return Path(shutil.copytree(run, tmp_path_factory.mktemp("runs") / "trained"))
