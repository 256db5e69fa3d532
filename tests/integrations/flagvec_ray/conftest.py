"""A cluster of Ray on this machine with two CPUs, which the first test starts and the last one stops."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    ray = pytest.importorskip("ray", reason="ray is not installed")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Actors import what the tests import, and nothing is sent home.
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=200 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.fixture
def tiny_settings(tiny_m3_directory: Path) -> Any:
    """The tiny model as actors load it; like `tiny_m3` it gives all three representations."""
    from flagvec_ray import ModelSettings

    options = {"model_class": "encoder-only-m3", "use_fp16": False, "return_sparse": True, "return_colbert_vecs": True}
    return ModelSettings(str(tiny_m3_directory), options)
