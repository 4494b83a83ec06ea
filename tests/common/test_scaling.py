import numpy as np

from figr_common import scaling

EVERY_BYTE = np.arange(256, dtype=np.uint8)


def test_every_byte_comes_back_from_both_ranges_of_floats():
    np.testing.assert_array_equal(
        scaling.unit_to_uint8(scaling.uint8_to_unit(EVERY_BYTE)), EVERY_BYTE
    )
    np.testing.assert_array_equal(
        scaling.signed_to_uint8(scaling.uint8_to_signed(EVERY_BYTE)), EVERY_BYTE
    )


def test_ink_is_the_smallest_value_and_paper_the_largest():
    unit, signed = scaling.uint8_to_unit(EVERY_BYTE), scaling.uint8_to_signed(EVERY_BYTE)
    assert (unit[0], unit[-1], unit.dtype) == (0.0, 1.0, np.float32)
    assert (signed[0], signed[-1], signed.dtype) == (-1.0, 1.0, np.float32)


def test_the_two_ranges_of_floats_agree():
    values = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
    np.testing.assert_array_equal(scaling.unit_to_signed(values), [-1.0, -0.5, 0.0, 1.0])
    np.testing.assert_array_equal(scaling.signed_to_unit(scaling.unit_to_signed(values)), values)


def test_samples_outside_of_the_range_are_clipped_and_nan_is_paper():
    np.testing.assert_array_equal(
        scaling.signed_to_uint8(np.array([-3.0, 3.0, np.nan])), [0, 255, 255]
    )
