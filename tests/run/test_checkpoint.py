"""What a checkpoint holds comes back, on any number of devices, and old ones make way."""

import contextlib
import gc
import os
import random
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding

from capjax.errors import InputError
from capjax.parallel.devices import replicate
from capjax.run.checkpoint import Checkpoints, check_room

noise = np.random.default_rng(0).normal(size=10_000).astype(np.float32)  # nothing to compress


def state() -> dict:
    key = jax.random.key(7)
    return {
        "params": {"w": jax.random.normal(key, (8, 3)), "b": jnp.zeros(3)},
        "half": jnp.arange(4, dtype=jnp.bfloat16),
        "keys": jax.random.split(key, 3),
        "key": key,
        "step": jnp.int32(41),
    }


def form(tree):
    return jax.eval_shape(lambda: tree)


def same(tree, other) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(other)
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        assert x.dtype == y.dtype
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


def test_a_state_comes_back_bit_for_bit(tmp_path):
    kept, note = state(), {"stage": 1, "best": 0.5, "words": ["é", ""]}
    with closing(Checkpoints(tmp_path / "last")) as last:
        assert last.restore(lambda note: form(kept)) is None
        last.save(3, kept, note)
    with closing(Checkpoints(tmp_path / "last")) as last:
        step, found, found_note = last.restore(lambda note: form(kept))
    assert (step, found_note) == (3, note)
    same(found, kept)
    jax.random.split(found["key"])  # still a key


def test_a_state_of_one_device_comes_back_on_four_and_of_four_on_one(tmp_path):
    kept, mesh = state(), Mesh(jax.local_devices(), ("data",))
    assert mesh.size == 4

    def shared(x):
        spec = jax.P("data") if x.shape[:1] == (8,) else jax.P()
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    with closing(Checkpoints(tmp_path / "one")) as one:
        one.save(1, kept, {})
        _, spread, _ = one.restore(lambda note: jax.tree.map(shared, form(kept)))
    assert len(spread["params"]["w"].sharding.device_set) == 4
    assert len(spread["params"]["w"].addressable_shards[0].data) == 2
    same(spread, kept)
    with closing(Checkpoints(tmp_path / "four")) as four:
        four.save(1, replicate(kept), {})
        alone = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        _, found, _ = four.restore(
            lambda note: jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=alone), form(kept)
            )
        )
    assert found["params"]["w"].sharding.device_set == {jax.devices()[0]}
    same(found, kept)


def test_the_newest_are_kept_and_a_step_is_saved_once(tmp_path):
    with closing(Checkpoints(tmp_path, keep=2)) as last:
        for step in (5, 10, 15, 20):
            last.save(step, {"x": jnp.full(2, step)}, {"step": step})
            last.save(step, {"x": jnp.zeros(2, int)}, {"step": -1})
        assert last.steps() == [15, 20]
        assert last.note(15) == {"step": 15}
        _, found, note = last.restore(lambda note: {"x": jnp.zeros(2, int)})
    assert found["x"].tolist() == [20, 20]
    assert note == {"step": 20}


def damage(folder: Path) -> None:
    largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def test_a_reader_skips_a_damaged_checkpoint_and_touches_nothing(tmp_path, capsys):
    with closing(Checkpoints(tmp_path / "best")) as best:
        for step in (1, 2):
            best.save(step, {"x": noise + step}, {})
    damage(tmp_path / "best" / "2")
    with closing(Checkpoints(tmp_path / "best", keep=None)) as reader:
        step, found, _ = reader.restore(lambda note: {"x": noise})
        assert step == 1
        same(found, {"x": noise + 1})
        assert capsys.readouterr().err.count("step 2") == 1
        damage(tmp_path / "best" / "1")
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        with pytest.raises(InputError, match="of step 2, 1"):
            reader.restore(lambda note: {"x": noise})
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def hurt(folder: Path, how: str, draw: random.Random) -> None:
    """Damages one file of a folder, most often the largest, at a place of chance."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "sums.json")
    largest = max(files, key=lambda path: path.stat().st_size)
    path = largest if draw.random() < 0.6 else draw.choice(files)
    content = bytearray(path.read_bytes())
    place = draw.randrange(max(1, len(content) - 64))
    if how == "cut":
        path.write_bytes(content[:place])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "gone":
        path.unlink()
    else:
        filler = bytes(64) if how == "zeroed" else draw.randbytes(64)
        path.write_bytes(content[:place] + filler[: len(content) - place] + content[place + 64 :])


@pytest.mark.parametrize("summed", [True, False], ids=["with sums", "as before there were sums"])
@pytest.mark.parametrize("how", ["cut", "empty", "gone", "zeroed", "other bytes"])
@pytest.mark.parametrize(
    "seeds", [[0], pytest.param(range(1, 6), marks=pytest.mark.slow)], ids=["one", "five"]
)
def test_a_damaged_checkpoint_gets_one_sentence_and_nothing_else(
    how, summed, seeds, tmp_path, capfd
):
    """Whatever is damaged and wherever: no read that is left behind tells of its own end."""
    kept = {f"x{i}": noise + i for i in range(30)}  # as many reads at once
    with closing(Checkpoints(tmp_path / "sound")) as last:
        last.save(1, kept, {})
    for seed in seeds:
        folder = tmp_path / f"{seed}"
        shutil.copytree(tmp_path / "sound", folder)
        if not summed:
            (folder / "1" / "sums.json").unlink()
        hurt(folder / "1", how, random.Random(f"{how} {seed}"))
        capfd.readouterr()
        with closing(Checkpoints(folder, keep=None)) as reader:
            if summed:
                with pytest.raises(InputError, match=r"^no checkpoint in .* of step 1 [^\n]*$"):
                    reader.restore(lambda note: kept)
            else:  # what is read all the same may be wrong: only sums can tell
                with contextlib.suppress(InputError):
                    reader.restore(lambda note: kept)
        gc.collect()
        assert capfd.readouterr().err == ""


def test_a_damaged_checkpoint_makes_way_for_a_new_one_of_its_step(tmp_path):
    with closing(Checkpoints(tmp_path / "last")) as last:
        for step in (1, 2):
            last.save(step, {"x": noise + step}, {})
        for again in (3, 4):
            damage(tmp_path / "last" / "2")
            assert last.restore(lambda note: {"x": noise})[0] == 1
            last.save(2, {"x": noise + again}, {})
            step, found, _ = last.restore(lambda note: {"x": noise})
            assert step == 2
            same(found, {"x": noise + again})
    aside = {path.name for path in (tmp_path / "damaged").iterdir()}
    assert aside == {"last-2", "last-2.1"}


def test_what_a_caller_refuses_is_no_damage(tmp_path):
    def refuse(note):
        raise InputError("not yours")

    with closing(Checkpoints(tmp_path / "last")) as last:
        last.save(1, {"x": jnp.zeros(2)}, {})
        with pytest.raises(InputError, match="not yours"):
            last.restore(refuse)
        assert last.steps() == [1]


@pytest.mark.parametrize("error", [TypeError("no"), "\udcff"], ids=["a type", "no text"])
def test_what_fails_beside_a_sound_checkpoint_is_not_blamed_on_it(error, tmp_path):
    def fail(note):
        if isinstance(error, str):
            error.encode()
        raise error

    with closing(Checkpoints(tmp_path / "last")) as last:
        last.save(1, {"x": jnp.zeros(2)}, {})
        with pytest.raises((TypeError, UnicodeEncodeError)):
            last.restore(fail)
        assert last.restore(lambda note: {"x": jnp.zeros(2)})[0] == 1


def test_a_state_of_another_shape_is_not_taken(tmp_path):
    with closing(Checkpoints(tmp_path / "last")) as last:
        last.save(1, {"x": jnp.zeros((4, 2))}, {})
        for wrong in ((4, 3), (2, 2), (8,)):
            with pytest.raises(InputError, match="no checkpoint in"):
                last.restore(lambda note, wrong=wrong: {"x": jnp.zeros(wrong)})
        assert last.steps() == [1]


def test_room_is_asked_for_before_it_is_needed(tmp_path):
    check_room(tmp_path, {"x": jnp.zeros(10)})
    big = {"x": jax.ShapeDtypeStruct((1 << 48,), jnp.float32)}
    with pytest.raises(InputError, match="MB free and its checkpoints need"):
        check_room(tmp_path, big)


def test_what_four_devices_saved_is_read_by_a_process_that_has_one(tmp_path):
    """As a run that was trained on several devices and is evaluated on a laptop."""
    with closing(Checkpoints(tmp_path)) as last:
        last.save(1, replicate(state()), {})
    read = f"""
import jax
from test_checkpoint import Checkpoints, form, state
assert jax.device_count() == 1
step, found, _ = Checkpoints({str(tmp_path)!r}, keep=None).restore(lambda note: form(state()))
print(float(found["params"]["w"].sum()))
"""
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(Path(__file__).parent)}
    told = subprocess.run([sys.executable, "-c", read], env=env, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    np.testing.assert_allclose(float(told.stdout), state()["params"]["w"].sum(), rtol=1e-6)
