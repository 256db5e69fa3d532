from itertools import count, islice

from hypothesis import given
from hypothesis import strategies as st

from flagvec.ingest.batches import batches

items = st.lists(st.integers(0, 20))


@given(items, st.integers(1, 5), st.integers(0, 30))
def test_batches_hold_every_item_in_order(sizes, most, total):
    assert [size for batch in batches(sizes, most, int, total) for size in batch] == sizes


@given(items, st.integers(1, 5), st.integers(0, 30))
def test_no_batch_exceeds_its_bounds_but_for_a_single_large_item(sizes, most, total):
    for batch in batches(sizes, most, int, total):
        assert 1 <= len(batch) <= most
        assert sum(batch) <= total or len(batch) == 1


def test_a_batch_is_given_out_before_the_rest_is_read():
    assert list(islice(batches(count(), 2), 2)) == [[0, 1], [2, 3]]


def test_nothing_gives_no_batch():
    assert list(batches([], 3)) == []
