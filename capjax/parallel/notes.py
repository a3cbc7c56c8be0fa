"""Notes that the processes of a run leave each other, beside what their devices compute.

JAX's runtime keeps them at its first process. They are small, and no process waits for another.
"""

import contextlib
from typing import Any

import jax
from jax._src import distributed


def leave(name: str, text: str) -> None:
    """Leaves a note, in the place of an earlier one of that name; none where there is no keeper."""
    client = _client()
    if client is not None:
        with contextlib.suppress(jax.errors.JaxRuntimeError):  # its keeper is gone
            client.key_value_set(f"capjax/{name}", text, allow_overwrite=True)


def left(folder: str) -> dict[str, str]:
    """The notes named FOLDER/NAME that there are, by NAME."""
    client = _client()
    if client is None:
        return {}
    with contextlib.suppress(jax.errors.JaxRuntimeError):
        found = client.key_value_dir_get(f"capjax/{folder}/")
        return {name.rpartition("/")[2]: text for name, text in found}
    return {}


def _client() -> Any:
    return distributed.global_state.client
