"""What the processes of a run tell each other beside a step: who is asked to stop, who is slow.

It rides along with the mean of the metrics, so that all see the same after the same step, and none
waits for another for it. A process alone has nothing to tell.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from capjax.parallel import processes
from capjax.training.stopping import StopSignal

NAME = "told"
SIZES = {"cpu": 256}  # of the product that devices are timed by: some ms at most
LARGE = 4096
RECENT = 0.1  # weight of the last step in what is told of the steps so far


class Pace:
    """How long a step would take each process if no other held it up; who is asked to stop.

    At the end of a step all wait for the slowest, so that only its own work tells a process from
    the others: what its host does between steps, and a product that its devices are timed by.

    Args:
      every: steps after which devices are timed.
    """

    def __init__(self, stop: StopSignal, every: int):
        self.stop, self.every = stop, every
        self.number, self.which = processes.count(), processes.index()
        self.host = np.zeros(self.number)  # seconds a step of each process's host
        self.devices = np.zeros(self.number)  # seconds of the product on its slowest device
        self.waits = 0.0  # seconds a step that this one waits for devices, its own and all others
        self._asked, self._steps, self._waited, self._product = False, 0, 0.0, 0.0
        self._since = time.perf_counter()

    @property
    def asked(self) -> str:
        """The signal by which a process is asked to stop; "" where none is."""
        if self.number == 1:
            return self.stop.name
        return (self.stop.name or "SIGTERM") if self._asked else ""

    def beside(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """A batch with what this process tells."""
        if self.number == 1:
            return dict(batch)
        if self._steps % self.every == 0:
            self._product = _slowest_product()
            self.rest()
        now = time.perf_counter()
        own, self._since = now - self._since - self._waited, now
        self.waits += RECENT * (self._waited - self.waits)
        self._steps, self._waited = self._steps + 1, 0.0
        told = np.zeros(1 + 2 * self.number, np.float32)
        told[0] = bool(self.stop.name)
        # So that the mean over all devices is what this process tells.
        each = jax.device_count() / jax.local_device_count()
        told[1 + self.which] = own * each
        told[1 + self.number + self.which] = self._product * each
        return {**batch, NAME: np.tile(told, (len(batch["rows"]), 1))}

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside, a process waits for its devices, and so for the other processes."""
        begun = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begun

    def rest(self) -> None:
        """What was done since the last step belongs to none."""
        self._since, self._waited = time.perf_counter(), 0.0

    def look(self, told: Any) -> None:
        """Hears what all have told beside a step."""
        if self.number > 1:
            self._asked = self._asked or bool(told[0] > 0)
            host, devices = np.split(np.asarray(told[1:], np.float64), 2)
            self.host += RECENT * (host - self.host)
            known = self.devices.any()
            self.devices = self.devices + (RECENT if known else 1) * (devices - self.devices)

    def told(self) -> dict[str, float]:
        """For a line of the log: `slowest_process`, the seconds a step that it would take alone
        (`slowest_s`), and those of the process in the middle (`median_s`)."""
        if self.number == 1:
            return {}
        alone = self.host + self.waits * self.devices / max(self.devices.min(), 1e-9)
        slowest = int(alone.argmax())
        return {
            "slowest_process": slowest,
            "slowest_s": float(alone[slowest]),
            "median_s": float(np.median(alone)),
        }


def told_by_all(batch: Mapping[str, Any]) -> Any:
    """What all processes tell beside a batch, of a device's share of it; a part of the update."""
    return lax.pmean(batch[NAME][0], "data") if NAME in batch else ()


def _slowest_product() -> float:
    """Seconds of a product of two matrices on the slowest of this process's devices."""
    found = []
    for device in jax.local_devices():
        size = SIZES.get(device.platform, LARGE)
        matrix = jax.device_put(jnp.ones((size, size), jnp.bfloat16), device)
        _product(matrix).block_until_ready()  # it may have to be compiled
        times = []
        for _ in range(3):
            begun = time.perf_counter()
            _product(matrix).block_until_ready()
            times.append(time.perf_counter() - begun)
        found.append(float(np.median(times)))
    return max(found)


@jax.jit
def _product(matrix: jax.Array) -> jax.Array:
    return matrix @ matrix
