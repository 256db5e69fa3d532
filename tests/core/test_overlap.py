"""Overlapped work keeps its order, and loses nothing."""

import threading

import pytest
import torch

from flagvec.engine.overlap import HostCopy, one_ahead, one_behind


def test_items_made_ahead_come_in_order():
    assert list(one_ahead(str, range(5))) == ["0", "1", "2", "3", "4"]
    assert list(one_ahead(str, [])) == []


def test_the_next_item_is_made_while_one_is_in_use():
    made = [threading.Event() for _ in range(3)]

    def make(number):
        made[number].set()
        return number

    items = one_ahead(make, range(3))
    for number in items:
        if number < 2:
            assert made[number + 1].wait(timeout=10)


def test_no_more_than_one_item_is_read_ahead():
    read = []
    items = one_ahead(str, (read.append(number) or number for number in range(10)))
    next(items)
    assert read == [0, 1]
    items.close()


def test_an_error_is_raised_in_the_place_of_its_item():
    items = one_ahead(lambda number: 1 // number, [1, 1, 0])
    assert [next(items), next(items)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_an_item_is_yielded_after_the_next_was_requested():
    begun = []
    items = one_behind(begun.append(number) or number for number in range(4))
    assert next(items) == 0
    assert begun == [0, 1]
    assert list(items) == [1, 2, 3]


def test_tensors_arrive_by_name():
    tensors = {"left": torch.arange(3), "right": torch.ones(2)}
    found = HostCopy(tensors, staying=("right",)).wait()
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"left": [0, 1, 2], "right": [1, 1]}


class Elsewhere:
    """An encoder that claims to run on a device, so that its work is overlapped here too."""

    is_on_host = False

    def __init__(self, encoder):
        self.run, self.window = encoder.run, encoder.window


def test_a_model_on_a_device_gives_the_same_as_on_the_host(tiny_m3, golden, monkeypatch):
    texts = golden.texts * 2
    expected = tiny_m3.encode(texts, batch_size=3)
    monkeypatch.setattr(tiny_m3, "_encoder", Elsewhere(tiny_m3._encoder))
    monkeypatch.setattr("flagvec.token_windows.WINDOW_ON_ACCELERATOR", 7)
    found = tiny_m3.encode(texts, batch_size=3)
    torch.testing.assert_close(found["dense_vecs"], expected["dense_vecs"], atol=1e-5, rtol=0)
    for one, other in zip(found["lexical_weights"], expected["lexical_weights"], strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    for one, other in zip(found["colbert_vecs"], expected["colbert_vecs"], strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
