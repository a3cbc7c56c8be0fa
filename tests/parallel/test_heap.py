"""Memory that a step frees is there for the next step."""

import subprocess
import sys

import pytest

AGAIN = """
import resource
import numpy as np
from capjax.parallel.heap import keep_memory

kept = keep_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**24)  # 128 MB
before = faults()
np.ones(2**24)
print(int(kept), faults() - before)
"""


def test_pages_of_what_was_freed_are_not_asked_for_again():
    """A page of 4 kB that is new to a process is a fault: of 128 MB there are 32,768."""
    ran = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True)
    kept, faults = map(int, ran.stdout.split())
    if not kept:
        pytest.skip("the C library here is not glibc")
    assert faults < 1000
