"""A real model that notes what goes through it."""

from __future__ import annotations

import time
from typing import Any

import pytest


@pytest.fixture
def noting(tiny_m3_directory: Any) -> Any:
    """A `BGEM3FlagModel` whose ``encoded`` lists each text it encodes, and ``most_at_once`` how many calls overlapped.

    It takes ``seconds`` longer for a call than it needs.
    """
    from flagvec import BGEM3FlagModel

    class NotingModel(BGEM3FlagModel):
        seconds = 0.0
        at_once = most_at_once = 0

        def encode(self, sentences: Any, *arguments: Any, **options: Any) -> Any:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.encoded += sentences
            self.options.append(options | {"batch_size": arguments[0] if arguments else options.get("batch_size")})
            time.sleep(self.seconds)
            output = super().encode(sentences, *arguments, **options)
            self.at_once -= 1
            return output

    model = NotingModel(tiny_m3_directory, use_fp16=False)
    model.encoded, model.options = [], []
    return model
