"""Which compiled programs are kept between runs? So that the same command starts sooner again."""

import contextlib
import hashlib
import importlib.util
import os
import platform
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

LIMIT = 512 * 2**20  # bytes, looked at when a command starts
_LEAST = 0.2  # seconds that a program must take to be compiled


def keep_programs(cache: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Lets JAX keep what it compiles in a folder of the cache, for this kind of machine alone.

    JAX's own settings go first: where JAX_COMPILATION_CACHE_DIR names a folder it is left as it is,
    and JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. A cache that cannot be used is no error,
    not even one whose name is no text, which JAX cannot write to: everything is compiled, as
    without it.

    Args:
      cache: as of `cache_folder`.
    Returns:
      The folder; None where it is not ours to choose, or nothing is kept.
    """
    # The settings of jax.config have no types.
    config: Any = jax.config
    if not config.jax_enable_compilation_cache:
        return None
    if named := config.jax_compilation_cache_dir:
        if not _is_text(named):
            jax.config.update("jax_compilation_cache_dir", None)
        return None
    if not _is_text(cache.absolute()):
        return None
    # JAX would pack programs by it, which tells no damage: a damaged program could go unnoticed.
    if importlib.util.find_spec("zstandard") or importlib.util.find_spec("compression"):
        return None
    folder = cache / "programs" / _machine(environment)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
        tidy(cache / "programs")
    except OSError:
        return None
    # What another process is writing, or the disk refuses, is compiled here.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in environment:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


def tidy(folder: Path, limit: int = LIMIT) -> None:
    """Removes programs that are damaged, then those not used for longest, down to a limit in bytes.

    A program that was being written when its process was killed is damaged.
    """
    kept: list[tuple[int, int, Path]] = []
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process tidies, too
            if not path.is_file():
                continue
            stat = path.stat()
            if path.name.endswith("-cache"):
                whole = _whole(path)
                if not whole:
                    path.unlink()
                    continue
                os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # looking at it is no use
            kept.append((max(stat.st_atime_ns, stat.st_mtime_ns), stat.st_size, path))
    total = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total <= limit:
            break
        path.unlink(missing_ok=True)
        total -= size


def _is_text(path: str | Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _whole(path: Path) -> bool:
    """Whether a program is what was packed, by the checksum at its end."""
    packed = zlib.decompressobj()
    try:
        packed.decompress(path.read_bytes())
    except zlib.error:
        return False
    return packed.eof and not packed.unused_data


def _machine(environment: Mapping[str, str]) -> str:
    """A name for what programs are compiled for: the processor, what it can, and how many."""
    parts = [platform.machine(), platform.processor(), str(os.cpu_count())]
    parts += [environment.get("NPROC", "")]
    if hasattr(os, "sched_getaffinity"):
        parts.append(str(len(os.sched_getaffinity(0))))
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
        parts += sorted(
            {x for x in lines if x.split("\t")[0] in ("flags", "Features", "model name")}
        )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
