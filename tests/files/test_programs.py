"""Compiled programs that are kept: the same numbers, less waiting, and no error whatever becomes
of them."""

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capjax.files.programs import tidy

SCRIPT = """
import sys
from pathlib import Path
import jax
from capjax.files.programs import keep_programs
found = keep_programs(Path(sys.argv[1]))
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith("/cache_hits")))
x = jax.random.normal(jax.random.key(0), (64, 64))
y = jax.jit(lambda x: jax.lax.scan(lambda a, _: (jax.numpy.tanh(a @ x), a.sum()), x, length=9))(x)
print(jax.device_get(y)[1].tobytes().hex(), sum(hits), found)
"""
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")} | {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PLATFORMS": "cpu",
}


def computed(cache: Path, **environment: str) -> tuple[str, int, str]:
    """What a process of its own computes, how many programs it found, and the folder it kept."""
    command = [sys.executable, "-c", SCRIPT, str(cache)]
    ran = subprocess.run(command, env=ENVIRONMENT | environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    numbers, hits, folder = ran.stdout.split(maxsplit=2)
    return numbers, int(hits), folder.strip()


def test_a_program_that_was_kept_gives_the_same_bits_and_a_damaged_one_is_made_again(tmp_path):
    numbers, hits, folder = computed(tmp_path)
    assert hits == 0
    assert Path(folder).parents[1] == tmp_path
    same, found, _ = computed(tmp_path)
    assert same == numbers
    assert found > 0
    kept = sorted(Path(folder).glob("*-cache"))
    for i, path in enumerate(kept):
        whole = path.read_bytes()
        damaged = [b"", whole[: len(whole) // 2], whole[:99] + b"\x00\xff" + whole[101:]][i % 3]
        path.write_bytes(damaged)
    assert computed(tmp_path)[:2] == (numbers, 0)
    assert computed(tmp_path)[:2] == (numbers, found)


@pytest.mark.slow
def test_a_cache_that_cannot_be_used_is_no_error(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert computed(tmp_path / "file" / "cache")[1:] == (0, "None")
    off = computed(tmp_path / "cache", JAX_ENABLE_COMPILATION_CACHE="false")
    assert off[1:] == (0, "None")
    own = computed(tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert own[1:] == (0, "None")
    assert not (tmp_path / "cache").exists()
    assert list((tmp_path / "own").glob("*-cache"))


@pytest.mark.slow
def test_a_cache_whose_name_is_no_text_is_no_error_and_keeps_nothing(tmp_path):
    """Bytes that are none in UTF-8, or letters in a locale that has none but ASCII's."""
    bare = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for name, locale in ((b"c\xff", {}), ("c\u00e9".encode(), bare)):
        cache = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
        assert computed(cache, **locale)[1:] == (0, "None")
        own = {"JAX_COMPILATION_CACHE_DIR": str(cache)}
        assert computed(tmp_path / "cache", **own, **locale)[1:] == (0, "None")
    assert not list(tmp_path.iterdir())


def program(path: Path, size: int, used: int) -> None:
    path.write_bytes(zlib.compress(os.urandom(size), 0))
    os.utime(path, (used, used))


def test_those_not_used_for_longest_go_first(tmp_path):
    for i, used in enumerate([300, 100, 400, 200]):
        program(tmp_path / f"{i}-cache", 1000, used)
    tidy(tmp_path, 2500)
    assert {path.name for path in tmp_path.iterdir()} == {"0-cache", "2-cache"}
    tidy(tmp_path, 2500)  # that it looked at them is no use of them
    program(tmp_path / "4-cache", 1000, 350)
    tidy(tmp_path, 2500)
    assert {path.name for path in tmp_path.iterdir()} == {"2-cache", "4-cache"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("programs")


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=300), st.data())
def test_a_program_is_kept_where_it_is_whole_and_no_bit_of_it_has_changed(folder, content, data):
    path, whole = folder / "x-cache", zlib.compress(content)
    path.write_bytes(whole)
    tidy(folder)
    assert path.read_bytes() == whole
    place = data.draw(st.integers(2, len(whole) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
    tidy(folder)
    left = path.read_bytes() if path.exists() else None
    # A bit that only fills up the last byte changes nothing of what is unpacked.
    assert left is None or zlib.decompress(left) == content
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    tidy(folder)
    assert not path.exists()
