"""FlagEmbedding's methods around worker processes, which flagvec's models do not have."""

from __future__ import annotations

from typing import NoReturn


class AbsentMethod:
    """A method that does not exist: ``hasattr`` is False, and the AttributeError says what to do instead."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(
            f"there is no {self.name}, because flagvec's models start no worker processes: call encode with all "
            "texts, or load a model in each process",
            name=self.name,
            obj=instance,
        )
