"""Devices and hosts: an update mapped over them, and what fits into their memory."""

from capjax.parallel.devices import over_devices, replicate
from capjax.parallel.memory import check_fits, check_step, no_memory, telling_memory

__all__ = ["check_fits", "check_step", "no_memory", "over_devices", "replicate", "telling_memory"]
