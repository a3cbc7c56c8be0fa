"""Checkpoints that survive: the state, and beside it all that is needed to go on or to decode."""

import asyncio
import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.sharding import Mesh

from capjax.errors import InputError
from capjax.files.checksums import check_sums, write_sums
from capjax.files.places import absolute, as_of_a_disk, move, stored
from capjax.parallel import by_first, everywhere, own, processes
from capjax.parallel.memory import no_memory
from capjax.parallel.parting import of_lost

# What is raised where a checkpoint is sound and holds something else than is asked of it.
OTHER_FORM = (ValueError, KeyError, OSError)


class Checkpoints:
    """The newest `keep` checkpoints in a folder, each a pytree of arrays and a JSON-able note.

    With keep=None they are only read: nothing in the folder is made, moved or removed.
    """

    def __init__(self, folder: str | Path, keep: int | None = 2):
        self.folder = absolute(folder)
        self.writes = keep is not None
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=self.writes,
            read_only=not self.writes,
            save_interval_steps=1 if self.writes else 0,
            # What a run that was killed had not finished writing would fill the disk.
            cleanup_tmp_directories=self.writes,
            enable_async_checkpointing=False,
        )
        with self._telling_the_disk():
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, note: Mapping[str, Any]) -> None:
        """Writes a checkpoint; returns when it is whole on the disk.

        Waiting costs a fraction of a second. In the background, the next update would be given the
        buffers that are still being written.

        Raises:
          InputError: the disk is full or refuses.
        """
        if by_first(lambda: step in self._manager.all_steps()):
            return  # a run that was cut between its saves comes by here again, with the same bits
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(everywhere(state)), note=ocp.args.JsonSave(dict(note))
        )
        with self._telling_the_disk():
            with _all_ended():
                self._manager.save(step, args=items)
            if processes.first():
                write_sums(self.folder / str(step))

    def restore(self, like: Callable[[Mapping[str, Any]], Any]) -> tuple[int, Any, dict] | None:
        """The newest checkpoint that can be read: (step, state, note); None where there is none.

        A damaged one is told of on stderr, set aside in `damaged/`, and the one before it is tried.

        Args:
          like: note -> a pytree of arrays or `jax.ShapeDtypeStruct`, the form of the state; or None
            where only the note is wanted, which gives None for the state. An InputError that it
            raises is no damage, and passes.
        Raises:
          InputError: there are checkpoints and none can be read; all are left where they are.
        """
        damaged: list[tuple[int, str]] = []
        for step in reversed(by_first(self.steps)):
            # Numbers that were changed on the disk are numbers, too: a reader may take them.
            sound = by_first(partial(_known_sound, self.folder / str(step)))
            try:
                if isinstance(sound, Exception):
                    raise sound
                note = self.note(step)
                if (form := like(note)) is None:
                    return step, None, note
                form = jax.tree.map(_somewhere, form)
                items = ocp.args.Composite(state=ocp.args.StandardRestore(form))
                with _all_ended():
                    state = self._manager.restore(step, args=items)["state"]
            except InputError:
                raise
            # A file that is cut or gone shows as whatever the reader stumbles over first.
            except Exception as error:
                # It may be sound. Where its files are known to be, it can be no worse than of
                # another form; and what cannot be encoded was never read from it.
                other = sound is True and not isinstance(error, OTHER_FORM)
                if (
                    no_memory(error)
                    or of_lost(error)
                    or other
                    or isinstance(error, UnicodeEncodeError)
                ):
                    raise
                damaged.append((step, f"{type(error).__name__}: {_first_line(error)}"))
                continue
            for bad, why in damaged:
                # Out of the way, so that its step can be saved again.
                moved = f"it was moved to {self._set_aside(bad)} and " if self.writes else ""
                if not processes.first():
                    continue
                print(
                    f"capjax: the checkpoint of step {bad} in {self.folder} cannot be read ({why});"
                    f" {moved}that of step {step} is used",
                    file=sys.stderr,
                )
            return step, own(state), note
        if damaged:
            steps = ", ".join(str(step) for step, _ in damaged)
            raise InputError(
                f"no checkpoint in {self.folder} can be read, of step {steps} ({damaged[0][1]});"
                " restore one from a copy, or train anew in another --workdir"
            )
        return None

    def note(self, step: int) -> dict:
        items = ocp.args.Composite(note=ocp.args.JsonRestore())
        with _all_ended():
            return self._manager.restore(step, args=items)["note"]

    def close(self) -> None:
        self._manager.close()

    def _set_aside(self, step: int) -> Path:
        target = by_first(partial(self._move_aside, step))
        self._manager.reload()
        return target

    def _move_aside(self, step: int) -> Path:
        aside = self.folder.parent / "damaged"
        if not stored(aside):
            aside.mkdir(exist_ok=True)
        target = aside / f"{self.folder.name}-{step}"
        for i in range(1, 1000):
            if not target.exists():
                break
            target = aside / f"{self.folder.name}-{step}.{i}"
        move(self.folder / str(step), target)
        return target

    @contextlib.contextmanager
    def _telling_the_disk(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # Orbax and tensorstore wrap what the disk says in errors of several kinds.
            if of_lost(error):
                raise
            message = str(error)
            # Of jax are errors of devices.
            if stored(self.folder) and not isinstance(
                error, InputError | jax.errors.JaxRuntimeError
            ):
                what = "write" if self.writes else "read"
                raise InputError(
                    f"cannot {what} checkpoints in {self.folder}: {_first_line(error)}; see that"
                    " the bucket is there and yours, and run the same command again to go on"
                ) from error
            if (
                isinstance(error, OSError)
                or "No space left" in message
                or "RESOURCE_EXH" in message
            ):
                raise InputError(
                    f"cannot write a checkpoint to {self.folder}: {_first_line(error)};"
                    " make room and run the same command again to go on from the one before"
                ) from error
            raise


def _known_sound(folder: Path) -> bool | Exception:
    """`check_sums`; what it raises is given."""
    try:
        return check_sums(folder)
    except Exception as error:
        return error


def _somewhere(x: Any) -> jax.ShapeDtypeStruct:
    """The form of an array, with a place: one of its own, or what this process has.

    Without one it would be looked for on the devices that it was saved from.
    """
    form = ocp.utils.to_shape_dtype_struct(x)
    if form.sharding is not None:
        return form
    if jax.process_count() == 1:
        place: jax.sharding.Sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    else:
        place = jax.sharding.NamedSharding(Mesh(jax.devices(), ("all",)), jax.P())
    return jax.ShapeDtypeStruct(form.shape, form.dtype, sharding=place)


class _Patient(asyncio.SelectorEventLoop):
    """An event loop that is closed when all that was begun in it has ended."""

    def close(self) -> None:
        if not self.is_closed() and not self.is_running():
            while left := asyncio.all_tasks(self):
                self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        super().close()


@contextlib.contextmanager
def _all_ended() -> Iterator[None]:
    """Inside, orbax leaves no read and no write behind.

    Where one of a checkpoint's reads fails, it closes its event loop over the others, which then
    tell stderr in hundreds of lines that their loop is gone.
    """
    made = asyncio.new_event_loop
    asyncio.new_event_loop = _Patient
    try:
        yield
    finally:
        asyncio.new_event_loop = made


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def check_folder(folder: Path, flag: str = "--workdir") -> None:
    """Makes a folder where there is none.

    Raises InputError, which names the flag that the folder came by, where it cannot be written.
    """
    try:
        with as_of_a_disk(folder):
            if not stored(folder):
                folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".probe"
            probe.write_bytes(b"is there room?")
            probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write to the folder {folder}: {error.strerror}; choose another {flag}"
        ) from error


def check_room(folder: str | Path, state: Any, copies: int = 4) -> None:
    """Fails where a folder cannot take `copies` checkpoints of a state; a store has room.

    Raises:
      InputError: the folder has too little room.
    """
    if stored(folder):
        return
    folder = Path(folder)
    needed = copies * sum(
        x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if hasattr(x.dtype, "itemsize")
    )
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise InputError(
            f"{folder} has {free / 1e6:,.1f} MB free and its checkpoints need"
            f" {needed / 1e6:,.1f} MB; make room, or choose another --workdir"
        )
