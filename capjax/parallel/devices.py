"""One body, many devices: the only place that knows how an update is mapped over them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding

from capjax.agreement import agree


def replicate(tree: Any) -> Any:
    """Arrays on every local device, so that an update need not be sent them at each step."""
    mesh = Mesh(jax.local_devices(), ("data",))
    return jax.device_put(tree, NamedSharding(mesh, jax.P()))


def over_devices(
    update: Callable, *, how: str = "pmap", devices: Sequence[jax.Device] | None = None
) -> Any:
    """Maps an update over devices, each with its share of the batch and the whole of all else.

    Args:
      update: (state, data, batch, key) -> (state, metrics), for one device's share of the batch,
        with `lax.pmean` over the axis "data" so that what it returns is the same on every device.
      how: "pmap" or "shard_map": the same body, the same results.
      devices: default all local devices for pmap, all devices for shard_map.
    Returns:
      (state, data, batch, key) -> (state, metrics), compiled, with `lower` as jitted functions have
      it; leaves of `batch` lead with the batch axis, a multiple of the number of devices. The old
      state is given up (donated).
    Raises:
      ValueError: another `how`.
    """
    if how == "pmap":
        devices = list(devices) if devices else jax.local_devices()
        n = len(devices)
        mapped = jax.pmap(
            update,
            "data",
            in_axes=(None, None, 0, None),
            out_axes=None,
            donate_argnums=0,
            devices=devices,
        )

        def shared(batch):
            agree(batch=batch)
            if rows := {x.shape[0] for x in jax.tree.leaves(batch) if x.shape[0] % n}:
                raise ValueError(f"a batch of {rows.pop()} rows cannot be shared by {n} devices")
            return jax.tree.map(lambda x: x.reshape(n, -1, *x.shape[1:]), batch)

        def run(state, data, batch, key):
            return mapped(state, data, shared(batch), key)

        def lower(state, data, batch, key):
            return mapped.lower(state, data, shared(batch), key)

        vars(run)["lower"] = lower
        return run
    if how == "shard_map":
        mesh = jax.make_mesh(
            (len(devices or jax.devices()),),
            ("data",),
            axis_types=(AxisType.Auto,),
            devices=devices,
        )
        whole, share = jax.P(), jax.P("data")
        # Inside, `pmean(grad(loss))` must mean what it does under pmap: without varying-axis types.
        body = partial(jax.shard_map, mesh=mesh, check_vma=False)(
            update, in_specs=(whole, whole, share, whole), out_specs=whole
        )
        return jax.jit(body, donate_argnums=0)
    raise ValueError(f"how={how!r} is not one of pmap, shard_map")
