"""Ties at the end of what a database finds, which it orders as it likes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flagvec.search.ties import best_with_ties


class Database:
    """Finds the best of its scores, with as many names, and remembers how many it was asked for."""

    def __init__(self, scores):
        self.scores = scores
        self.asked = []

    def first(self, count):
        self.asked.append(count)
        found = list(enumerate(self.scores))
        random.Random(len(self.asked)).shuffle(found)
        return sorted(found, key=lambda item: -item[1])[:count]

    def best(self, limit):
        return best_with_ties(self.first, limit, len(self.scores), lambda item: item[1])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 40))
def test_all_that_tie_with_the_last_are_found(scores, limit):
    found = Database(scores).best(limit)
    rising = sorted(scores, reverse=True)
    last = rising[min(limit, len(scores)) - 1]
    assert {name for name, _ in found} == {name for name, score in enumerate(scores) if score >= last}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 40))
def test_the_database_is_asked_twice_at_most(scores, limit):
    database = Database(scores)
    database.best(limit)
    assert len(database.asked) <= 2


@pytest.mark.parametrize(("scores", "asked"), [([3] * 2 + [1] * 30, [4]), ([3] * 32, [4, 32]), ([3] * 3, [3])])
def test_it_is_asked_for_all_only_where_a_few_beyond_the_last_all_tie(scores, asked):
    database = Database(scores)
    database.best(2)
    assert database.asked == asked
