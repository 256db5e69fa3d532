"""``flagvec stats``."""

from __future__ import annotations

from typing import Any

from flagvec.cli.options import AsJson, Debug, Stores
from flagvec.cli.output import print_fields, print_json
from flagvec.cli.stores import engine_version, opened_without_model
from flagvec.store.address import StoreAddress


def stats(store: Stores, as_json: AsJson = False, debug: Debug = False) -> None:
    """Show what a store holds, and which model made it."""
    found = [_stats(address) for address in store]
    if as_json:
        print_json(found)
        return
    for one in found:
        print_fields((name, _shown(value)) for name, value in one.items())


def _stats(address: StoreAddress) -> dict[str, Any]:
    with opened_without_model(address) as store:
        return {
            "store": address.url,
            "database": engine_version(address, store),
            "documents": store.count(),
            "holds": list(store.schema.representations),
            **store.schema.to_json(),
        }


def _shown(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case None:
            return "-"
        case list():
            return ", ".join(map(str, value))
    return str(value) if value else repr(value)
