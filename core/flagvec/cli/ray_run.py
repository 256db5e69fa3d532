"""``flagvec ingest --engine ray``: the same command, whose work actors of Ray do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import typer

from flagvec.cli.exits import end_if_refused
from flagvec.cli.loading import arguments_of
from flagvec.cli.options import ColbertForm
from flagvec.cli.output import print_json
from flagvec.cli.stores import found_schema
from flagvec.cli.writing import colbert_option
from flagvec.store.address import StoreAddress


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the actors run.

    Args:
        address: What ``ray.init`` takes; None starts a cluster on this machine for the command.
        actors: How many encode.
        gpus: GPUs of each.
    """

    address: str | None
    actors: int
    gpus: float


def refuse(options: Iterable[str]) -> None:
    """Refuse options that need one process which sees all documents.

    Raises:
        typer.BadParameter: Names the first.
    """
    for option in options:
        raise typer.BadParameter(f"{option} with --engine ray: actors see parts of the documents; leave one out")


def model_settings(address: StoreAddress, name: str | None, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of the model that actors load: the given one, or that of the store.

    Raises:
        ValueError: No name is given, and this process cannot ask the store for it.
    """
    # Milvus Lite keeps a file open until the process ends, and the writing actor could not open it.
    schema = None if address.database == "milvus-lite" else found_schema(address)
    if schema is not None:
        return arguments_of(schema, name, **options)
    if name is None:
        raise ValueError(f"{address} does not say which model it is of: add --model NAME, such as --model bge-m3")
    return name, {key: value for key, value in options.items() if value is not None}


def ingest(
    files: Sequence[str],
    address: StoreAddress,
    model: tuple[str, Mapping[str, Any]],
    cluster: Cluster,
    colbert: ColbertForm | None,
    as_json: bool,
    *,
    reading: Mapping[str, Any],
    writing: Mapping[str, Any],
) -> None:
    """Read, encode and write documents on a cluster, and print the report.

    Raises:
        ImportError: The extra is missing; has the pip line.
        typer.Exit: Documents were refused.
    """
    package = import_module("flagvec_ray")  # core does not import integrations, so that it is found by name
    ray = import_module("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    is_started_here = not ray.is_initialized()
    if is_started_here:
        ray.init(address=cluster.address or "local", include_dashboard=False, log_to_driver=False)
    try:
        report = package.ingest(
            package.read(files, **reading),
            model=package.ModelSettings(*model),
            store=package.StoreSettings(address.url, colbert_option(colbert)),
            actors=package.Actors(cluster.actors, num_gpus=cluster.gpus),
            **writing,
        )
    finally:
        if is_started_here:
            ray.shutdown()
    if as_json:
        print_json(asdict(report) | {"dead_letters": None if report.dead_letters is None else str(report.dead_letters)})
    else:
        typer.echo(report.summary())
    end_if_refused(report.failed, report.dead_letters, is_silent=as_json)
