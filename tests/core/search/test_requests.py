"""Requests are made ahead of the answer in use, in order, and none begins after one has failed."""

import threading

import pytest

from flagvec.search.requests import Requests


@pytest.fixture
def requests():
    with Requests(2) as made:
        yield made


@pytest.mark.parametrize("count", [0, 1, 5])
def test_answers_come_in_the_order_of_the_parts(requests, count):
    assert list(requests.ahead(str, range(count))) == [str(number) for number in range(count)]


def test_the_next_request_is_made_while_an_answer_is_in_use(requests):
    made = [threading.Event() for _ in range(4)]

    def request(number):
        made[number].set()
        return number

    for number in requests.ahead(request, range(4)):
        for following in range(number + 1, min(number + 3, 4)):
            assert made[following].wait(timeout=10)


def test_no_more_parts_are_taken_than_may_wait(requests):
    taken = []
    answers = requests.ahead(str, (taken.append(number) or number for number in range(9)))
    next(answers)
    assert taken == [0, 1, 2]


def test_an_error_is_raised_in_the_place_of_its_answer(requests):
    answers = requests.ahead(lambda number: 1 // number, [1, 0, 1])
    assert next(answers) == 1
    with pytest.raises(ZeroDivisionError):
        next(answers)


def test_no_request_begins_after_one_has_failed():
    begun, failing = [], threading.Event()

    def fail():
        failing.wait(timeout=10)
        raise ConnectionError("the server is away")

    with Requests(1) as requests:
        failed = requests.submit(fail)
        answers = requests.ahead(begun.append, range(5))
        failing.set()
        with pytest.raises(ConnectionError, match="the server is away"):
            next(answers)
        with pytest.raises(ConnectionError, match="the server is away"):
            failed.result()
    assert begun == []


def test_no_request_begins_after_the_block_was_left_by_an_error():
    begun, may_end = [], threading.Event()
    with pytest.raises(KeyboardInterrupt), Requests(1) as requests:
        requests.submit(lambda: may_end.wait(timeout=10))
        later = requests.submit(lambda: begun.append(1))
        threading.Timer(0.2, may_end.set).start()
        raise KeyboardInterrupt
    assert begun == []
    with pytest.raises(KeyboardInterrupt):
        later.result()
