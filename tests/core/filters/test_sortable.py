"""Keys that order as numbers and moments do."""

from hypothesis import given
from hypothesis import strategies as st

from flagvec.filters.sortable import moment_key, number_key

numbers = st.floats(allow_nan=False) | st.integers(-(2**63), 2**63)


@given(numbers, numbers)
def test_the_keys_of_numbers_order_as_the_numbers_do(first, second):
    assert (number_key(first) < number_key(second)) == (float(first) < float(second))
    assert (number_key(first) == number_key(second)) == (float(first) == float(second))
    assert 0 <= number_key(first) < 2**64


@given(st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
def test_the_keys_of_moments_order_as_the_moments_do(first, second):
    assert (moment_key(first) < moment_key(second)) == (first < second)
    assert 0 <= moment_key(first) < 2**64
