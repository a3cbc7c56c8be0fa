"""One body, many devices: the only place that knows how an update is mapped over them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

from capjax.agreement import agree


def replicate(tree: Any) -> Any:
    """Arrays on every device of this process, so that an update need not be sent them each step."""
    return jax.device_put(tree, NamedSharding(_mesh(jax.local_devices()), jax.P()))


def own(tree: Any) -> Any:
    """This process's own copy of arrays that all devices of all processes hold whole."""
    if jax.process_count() == 1:
        return tree
    place = NamedSharding(_mesh(jax.local_devices()), jax.P())
    return jax.tree.map(partial(_placed, place), tree)


def everywhere(tree: Any) -> Any:
    """Arrays that each process has a whole copy of as one of all processes: `own` turned round."""
    if jax.process_count() == 1:
        return tree
    return _on(_mesh(_in_order(jax.devices())), tree)


def own_rows(rows: np.ndarray) -> np.ndarray:
    """Those rows of a batch [B, ...] that are for this process's devices; B a multiple of all."""
    number, which = jax.process_count(), jax.process_index()
    if number == 1:
        return rows
    owners = np.array([device.process_index for device in _in_order(jax.devices())])
    shares = rows.reshape(len(owners), -1, *rows.shape[1:])
    return shares[owners == which].reshape(-1, *rows.shape[1:])


def over_devices(
    update: Callable, *, how: str = "pmap", devices: Sequence[jax.Device] | None = None
) -> Any:
    """Maps an update over devices, each with its share of the batch and the whole of all else.

    Where several processes run, each gives its own copy of the state and its own rows of the batch
    (`own_rows`), and gets its own copy of the new state.

    Args:
      update: (state, data, batch, key) -> (state, metrics), for one device's share of the batch,
        with `lax.pmean` over the axis "data" so that what it returns is the same on every device.
      how: "pmap" or "shard_map": the same body, the same results.
      devices: default all devices of all processes.
    Returns:
      (state, data, batch, key) -> (state, metrics), compiled, with `lower` as jitted functions have
      it; leaves of `batch` lead with the batch axis, a multiple of the number of devices. The old
      state is given up (donated).
    Raises:
      ValueError: another `how`.
    """
    if how not in ("pmap", "shard_map"):
        raise ValueError(f"how={how!r} is not one of pmap, shard_map")
    devices = _in_order(devices or jax.devices())
    return (_pmapped if how == "pmap" else _shard_mapped)(update, devices)


def _pmapped(update: Callable, devices: list[jax.Device]) -> Callable:
    mapped = jax.pmap(
        update,
        "data",
        in_axes=(None, None, 0, None),
        out_axes=None,
        donate_argnums=0,
        devices=devices,
    )
    several = jax.process_count() > 1 and _here(devices)
    n = sum(x.process_index == jax.process_index() for x in devices) if several else len(devices)

    def shared(batch):
        agree(batch=batch)
        if rows := {x.shape[0] for x in jax.tree.leaves(batch) if x.shape[0] % n}:
            raise ValueError(f"a batch of {rows.pop()} rows cannot be shared by {n} devices")
        return jax.tree.map(lambda x: x.reshape(n, -1, *x.shape[1:]), batch)

    def placed(state):
        return replicate(state) if several else state  # which is no work where it lies there

    def run(state, data, batch, key):
        return mapped(placed(state), data, shared(batch), key)

    def lower(state, data, batch, key):
        return mapped.lower(placed(state), data, shared(batch), key)

    vars(run)["lower"] = lower
    return run


def _shard_mapped(update: Callable, devices: list[jax.Device]) -> Any:
    mesh, whole, share = _mesh(devices), jax.P(), jax.P("data")
    # Inside, `pmean(grad(loss))` must mean what it does under pmap: without varying-axis types.
    body = partial(jax.shard_map, mesh=mesh, check_vma=False)(
        update, in_specs=(whole, whole, share, whole), out_specs=whole
    )
    mapped = jax.jit(body, donate_argnums=0)
    if jax.process_count() == 1 or not _here(devices):
        return mapped

    def of_all(state, data, batch, key):
        rows = jax.tree.map(
            partial(jax.make_array_from_process_local_data, NamedSharding(mesh, share)), batch
        )
        return (*_on(mesh, (state, data)), rows, _on(mesh, key))

    def run(state, data, batch, key):
        return own(mapped(*of_all(state, data, batch, key)))

    def lower(state, data, batch, key):
        return mapped.lower(*of_all(state, data, batch, key))

    vars(run)["lower"] = lower
    return run


def _on(mesh: Mesh, tree: Any) -> Any:
    """This process's copies of arrays as whole ones of all devices of a mesh."""
    place = NamedSharding(mesh, jax.P())
    return jax.tree.map(lambda x: _placed(place, replicate(x)), tree)


def _placed(place: NamedSharding, x: jax.Array) -> jax.Array:
    """An array under another name for where it lies; nothing is moved."""
    if x.sharding == place:
        return x
    if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        inner = _placed(place, jax.random.key_data(x))
        return jax.random.wrap_key_data(inner, impl=jax.random.key_impl(x))
    shards = [shard.data for shard in x.addressable_shards]
    return jax.make_array_from_single_device_arrays(x.shape, place, shards)


def _mesh(devices: Sequence[jax.Device]) -> Mesh:
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def _in_order(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Those of a process together: it is given its rows, which are one piece of the batch."""
    return sorted(devices, key=lambda device: device.process_index)


def _here(devices: Sequence[jax.Device]) -> bool:
    """Whether devices are of this machine, and not such as are only compiled for."""
    return devices[0].client == jax.devices()[0].client
