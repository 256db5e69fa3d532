"""``flagvec models``."""

from __future__ import annotations

from dataclasses import asdict

from flagvec.cli.options import AsJson, Debug
from flagvec.cli.output import print_json, print_rows
from flagvec.models import list_models

_GIVES = {"BGEM3FlagModel": "dense, sparse, colbert", "FlagModel": "dense"}


def models(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the models that are known by name. A Hugging Face name or a directory works too."""
    cards = list_models()
    if as_json:
        print_json([asdict(card) for card in cards])
        return
    print_rows(
        ["model", "dimension", "tokens", "gives", "license"],
        ([card.name, card.dimension, card.max_length, _GIVES[card.model_class], card.license or ""] for card in cards),
    )
