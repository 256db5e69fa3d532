"""flagvec on Ray Data: a corpus that is too large for one machine, encoded and written by actors on many.

`ingest` writes into a store, `encode_to_parquet` into files that `flagvec load` reads, and `encode` gives a data set
with the vectors. Each needs the extra ``ray``.
"""

from __future__ import annotations

from flagvec.extras import extra

with extra("ray"):
    import ray.data  # noqa: F401  # says at once what is missing

from flagvec_ray.encoding import encode, encode_to_parquet
from flagvec_ray.ingestion import ingest
from flagvec_ray.report import RayReport
from flagvec_ray.settings import Actors, ModelSettings, StoreSettings
from flagvec_ray.sources import read

__all__ = ["Actors", "ModelSettings", "RayReport", "StoreSettings", "encode", "encode_to_parquet", "ingest", "read"]
