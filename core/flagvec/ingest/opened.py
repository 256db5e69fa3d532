"""The stores of an ingestion: named, opened, of one model, and as the journal knows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flagvec.errors import JournalError, StoreDownError, StoreError
from flagvec.ingest.content import Contents, differences, vectors_of
from flagvec.ingest.encoded import Encoder
from flagvec.ingest.journal import Journal, JournaledStore
from flagvec.ingest.lane import Lane, Rules
from flagvec.store.schema import Schema

if TYPE_CHECKING:
    from flagvec.embedder import AbsEmbedder
    from flagvec.store.base import HybridStore


@dataclass(frozen=True, slots=True)
class Opened:
    """What an ingestion writes with.

    Args:
        lanes: One for each store, in the given order.
        encoder: Encodes what they need together.
        contents: Hashes documents for this model.
    """

    lanes: list[Lane]
    encoder: Encoder
    contents: Contents


def opened_lanes(
    stores: HybridStore | Sequence[HybridStore] | Mapping[str, HybridStore], model: AbsEmbedder | None, rules: Rules
) -> Opened:
    """Open stores, and compare them with one another and with the journal.

    Raises:
        TypeError: Something other than stores.
        ValueError: No store, two of one name, or stores of different models.
        JournalError: The journal is of another store or model, or has documents that the store lacks.
        StoreError: A store does not exist, does not fit its model, or was closed.
        StoreDownError: All stores are away.
    """
    named = named_stores(stores)
    model = model or next(iter(named.values())).model
    for name, store in named.items():
        _check_model(name, store, model)
    lanes = [_opened(name, store, model, rules) for name, store in named.items()]
    if all(lane.down for lane in lanes):
        raise StoreDownError({lane.name: str(lane.down) for lane in lanes})
    needed = {one for lane in lanes for one in lane.writing.representations}
    return Opened(lanes, Encoder(model, sorted(needed)), Contents(vectors_of(Schema.of(model), model)))


def named_stores(stores: HybridStore | Sequence[HybridStore] | Mapping[str, HybridStore]) -> dict[str, HybridStore]:
    """Return stores by the given names, or by those that their messages use.

    Raises:
        TypeError: Something other than stores.
        ValueError: No store, or two of one name.
    """
    from flagvec.store.base import HybridStore

    given: dict[Any, Any]
    if isinstance(stores, Mapping):
        given = dict(stores)
    else:
        given = dict(enumerate([stores] if isinstance(stores, HybridStore) else stores))
    named: dict[str, HybridStore] = {}
    for key, store in given.items():
        if not isinstance(store, HybridStore):
            raise TypeError(f"stores[{key!r}] is {type(store).__name__}, not a HybridStore")
        name = key if isinstance(stores, Mapping) else store.writing.backend.name
        if name in named:
            raise ValueError(f"two stores are called {name!r}: pass a dict that names each, stores={{'...': store}}")
        named[name] = store
    if not named:
        raise ValueError("stores is empty: pass at least one store")
    return named


def entered(journal: Journal, name: str, store: HybridStore, model: AbsEmbedder) -> JournaledStore:
    """Return what a journal knows of an open store, which is noted if it is new.

    Raises:
        JournalError: The journal is of another store or model, or has documents that the store lacks.
        StoreError: The database does not answer.
    """
    opening, backend = store.writing.opening, store.writing.backend
    identity = opening.ask("be identified", backend.identity, None)
    known = journal.enter(name, str(identity), vectors_of(store.schema, model))
    if known.documents:
        store.writing.flush(None)
        if (count := store.count()) < known.documents:
            raise JournalError(
                f"the journal {str(journal.path)!r} has {known.documents:,} documents of {name}, which holds {count:,}"
                ": they were deleted by other means, or the store was made anew. verify(store, journal, forget=True) "
                "makes the next ingestion write what is missing; without this journal, everything is written anew"
            )
    return known


def _check_model(name: str, store: HybridStore, model: AbsEmbedder) -> None:
    if store.model is model:
        return
    has_colbert = store.schema.colbert_dimension is not None
    of_store, given = (vectors_of(Schema.of(one, colbert=has_colbert), one) for one in (store.model, model))
    if changed := differences(given, of_store):
        raise ValueError(
            f"{name} has another model than the one that encodes: {'; '.join(changed)}. Ingest into stores of "
            "different models one after another"
        )


def _opened(name: str, store: HybridStore, model: AbsEmbedder, rules: Rules) -> Lane:
    writing, known = store.writing, None
    try:
        writing.opening.opened()
        if rules.journal is not None:
            known = entered(rules.journal, name, store, model)
    except StoreError as error:
        if not error.is_away:
            raise
        lane = Lane(name, writing, rules, None)
        lane.down = str(error)
        return lane
    return Lane(name, writing, rules, known)
