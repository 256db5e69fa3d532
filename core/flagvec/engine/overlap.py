"""What runs beside what on an accelerator: tokenising, the forward pass, and copies to the host."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

Item = TypeVar("Item")
Made = TypeVar("Made")


class HostCopy:
    """Tensors on their way to the host.

    CUDA copies them into page-locked memory once it has computed them, while the host goes on; elsewhere they are there
    at once.

    Args:
        tensors: By name, of one device or on the host already.
        staying: The names of those that stay on the device.
    """

    def __init__(self, tensors: Mapping[str, Tensor], staying: Collection[str] = ()) -> None:
        self._on_device = {name: tensor for name, tensor in tensors.items() if name in staying}
        leaving = {name: tensor for name, tensor in tensors.items() if name not in staying}
        devices = [tensor.device for tensor in leaving.values() if tensor.is_cuda]
        self._copied = _cuda_event() if devices else None
        # Only CUDA may be read from without waiting for it: elsewhere such a copy is not ordered with what reads it.
        self._on_host = {
            name: tensor.to("cpu", non_blocking=self._copied is not None) for name, tensor in leaving.items()
        }
        if self._copied is not None:
            # Theirs, which need not be the current device.
            self._copied.record(torch.cuda.current_stream(devices[0]))

    def wait(self) -> dict[str, Tensor]:
        """Return the tensors, once all of them are there."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._on_device | self._on_host


def _cuda_event() -> torch.cuda.Event:
    event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]  # torch types few of its own
    return event


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on a device; CUDA copies it when its turn comes, without being waited for."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def one_ahead(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield what `make` makes of each item, made in another thread while the one before is in use."""
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Made] | None = None
        for item in items:
            following = thread.submit(make, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """Yield each item once the next one is there: a device works on that one meanwhile."""
    waiting: list[Item] = []
    for item in items:
        yield from waiting
        waiting = [item]
    yield from waiting
