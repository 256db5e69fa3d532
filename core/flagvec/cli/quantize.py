"""``flagvec quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flagvec.cli.options import MODEL_HELP, AsJson, Debug
from flagvec.cli.output import print_json


def quantize(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="A new or empty directory.")],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write a model with int8 weights, a quarter of float32's bytes.

    The directory is a model for flagvec. It runs on CPUs.
    """
    from flagvec.loading import HubOptions
    from flagvec.quantization import quantize_checkpoint

    source = quantize_checkpoint(model, output, trust_remote_code=False, hub=HubOptions())
    before, after = _weight_bytes(source), _weight_bytes(output)
    if as_json:
        print_json({"model": model, "output": str(output), "bytes_before": before, "bytes": after})
        return
    typer.echo(f"{output}: {after / 1e6:,.0f} MB of weights instead of {before / 1e6:,.0f}")


def _weight_bytes(directory: Path) -> int:
    from flagvec.checkpoints.checks import weight_files

    return sum(file.stat().st_size for file in weight_files(directory))
