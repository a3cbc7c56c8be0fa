"""Devices and hosts: an update mapped over them, what fits into their memory, who does what."""

from capjax.parallel.devices import everywhere, over_devices, own, own_rows, replicate
from capjax.parallel.memory import check_fits, check_step, no_memory, telling_memory
from capjax.parallel.together import by_first, first_before_others, shared_out, wait_for_all

__all__ = [
    "by_first",
    "check_fits",
    "check_step",
    "everywhere",
    "first_before_others",
    "no_memory",
    "over_devices",
    "own",
    "own_rows",
    "replicate",
    "shared_out",
    "telling_memory",
    "wait_for_all",
]
