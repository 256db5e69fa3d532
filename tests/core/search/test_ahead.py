"""Requests are made ahead of the answer in use, in order, and no further ahead than was said."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flagvec.search.ahead import ahead


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.mark.parametrize("count", [0, 1, 5])
def test_answers_come_in_the_order_of_the_parts(threads, count):
    assert list(ahead(threads, str, range(count), 2)) == [str(number) for number in range(count)]


def test_the_next_request_is_made_while_an_answer_is_in_use(threads):
    made = [threading.Event() for _ in range(4)]

    def request(number):
        made[number].set()
        return number

    for number in ahead(threads, request, range(4), 2):
        for following in range(number + 1, min(number + 3, 4)):
            assert made[following].wait(timeout=10)


def test_no_more_requests_are_made_than_may_wait(threads):
    taken = []
    answers = ahead(threads, str, (taken.append(number) or number for number in range(9)), 2)
    next(answers)
    assert taken == [0, 1, 2]


def test_an_error_is_raised_in_the_place_of_its_answer(threads):
    answers = ahead(threads, lambda number: 1 // number, [1, 0, 1], 2)
    assert next(answers) == 1
    with pytest.raises(ZeroDivisionError):
        next(answers)
