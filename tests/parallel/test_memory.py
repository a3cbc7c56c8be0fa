"""Is memory that does not suffice told in a sentence that names what to lower?"""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from small_runs import train_here

from capjax.errors import InputError
from capjax.parallel.memory import check_step, telling_memory


def test_a_batch_that_does_not_fit_is_refused_and_named(recipe, tmp_path):
    big = recipe(**{"mle.batch": 40_000, "data.max_len": 20_000, "mle.epochs": 1.0})
    mend = r"lower config\.mle\.batch=40000 or raise config\.mle\.accumulate=1"
    with pytest.raises(InputError, match=rf"memory does not suffice .* {mend}"):
        train_here(big, tmp_path / "run")


def test_a_step_is_refused_where_a_limit_of_the_process_leaves_too_little():
    code = """
import resource
import jax, jax.numpy as jnp
from capjax.errors import InputError
from capjax.parallel.memory import check_step
step = jax.jit(lambda x: jnp.sin(x[:, None] * x).sum(1) @ jnp.cos(x[:, None] + x))
program = step.lower(jax.ShapeDtypeStruct((20_000,), "float32")).compile()
check_step(program, 1, "lower it")
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, -1))
try:
    check_step(program, 1, "lower it")
except InputError as error:
    print(error)
"""
    env = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    told = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("the memory does not suffice (a step needs ")
    assert "lower it" in told.stdout


def test_what_xla_cannot_allocate_is_told_in_one_sentence():
    @jax.jit
    def huge(x):
        return jnp.sort(jnp.full((1 << 46,), x))  # 256 TB, more than can be addressed

    sentence = r"^the memory does not suffice \([^\n]*\); lower it, or"
    with pytest.raises(InputError, match=sentence), telling_memory("lower it"):
        jax.block_until_ready(huge(jnp.float32(1)))
    with pytest.raises(ValueError, match=r"^another"), telling_memory("lower it"):
        raise ValueError("another")


def test_a_program_that_fits_is_let_through():
    check_step(jax.jit(jnp.sin).lower(jnp.ones(3)).compile(), 4, "lower it")
