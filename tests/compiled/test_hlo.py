"""Reading compiled programs."""

import pytest

from capjax.compiled.hlo import read
from capjax.compiled.products import Product, Products
from capjax.compiled.traffic import moved

TEXT = """HloModule jit_f, entry_computation_layout={(f32[8,16]{1,0})->f32[8,32]{1,0}}

%fused (param_0: bf16[8,16], param_1: bf16[16,32], param_2: f32[100,8,32]) -> f32[8,32] {
  %param_0 = bf16[8,16]{1,0} parameter(0)
  %param_1 = bf16[16,32]{1,0} parameter(1)
  %param_2 = f32[100,8,32]{2,1,0} parameter(2)
  %zero = s32[] constant(0)
  %slice = f32[1,8,32]{2,1,0} dynamic-slice(%param_2, %zero, %zero, %zero), dynamic_slice_sizes={1,8,32}
  %flat = f32[8,32]{1,0} bitcast(%slice)
  %dot.1 = f32[8,32]{1,0} dot(%param_0, %param_1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %sum = f32[8,32]{1,0} add(%dot.1, %flat)
}

ENTRY %main (x: bf16[8,16]) -> f32[8,32] {
  %x = bf16[8,16]{1,0} parameter(0)
  %w = bf16[16,32]{1,0:T(8,128)(2,1)S(1)} parameter(1)
  %many = f32[100,8,32]{2,1,0} parameter(2)
  %pair = (f32[8,32]{1,0}, /*index=1*/f32[8]{0}) custom-call(%x), custom_call_target="two"
  %batch = f32[4,8,32]{2,1,0} dot(%a, %b), lhs_batch_dims={0}, lhs_contracting_dims={2}, rhs_batch_dims={0}, rhs_contracting_dims={1}
  %a = f32[4,8,16]{2,1,0} parameter(3)
  %b = f32[4,16,32]{2,1,0} parameter(4)
  %conv = f32[8,32]{1,0} convolution(%x, %w), dim_labels=bf_io->bf
  %faked = f32[4,8,32]{2,1,0} convolution(%a, %b), window={size=4 stride=3 pad=0_0 lhs_dilate=4}, dim_labels=0bf_0io->0bf
  ROOT %out = f32[8,32]{1,0} fusion(%x, %w, %many), kind=kOutput, calls=%fused, metadata={op_name="jit(f)/add"}
}
"""  # noqa: E501


@pytest.fixture(name="program")
def fixture_program():
    return read(TEXT)


def test_products_are_found_in_all_forms(program):
    main, found = program.computations[program.entry], Products(program)
    one = Product(1, 8, 16, 32)
    assert found.of(main["out"], main) == [one] == found.of(main["conv"], main)
    assert found.of(main["batch"], main) == [Product(4, 8, 16, 32)]
    assert found.of(main["faked"], main) == [Product(4, 8, 16, 32)]
    assert found.of(main["pair"], main) == []
    assert one.work == 2 * 8 * 16 * 32
    assert one.padded(16, 128) == 2 * 16 * 128 * 128
    assert one.padded(1, 1) == one.work


def test_bytes_are_of_what_is_taken_and_given_and_of_slices_the_slice(program):
    main = program.computations[program.entry]
    x, given, part = 8 * 16 * 2, 8 * 32 * 4, 8 * 32 * 4
    assert moved(program, main["out"], main) == x + 0 + part + given  # w lies in the core
    assert moved(program, main["pair"], main) == x + given + 8 * 4


def test_a_text_that_is_no_program_is_refused():
    with pytest.raises(ValueError, match="ENTRY"):
        read("HloModule nothing\n")
