"""How the scripts hand a peer's results to the tests."""

import importlib.metadata
import json
from pathlib import Path


def write(folder, arrays, values):
    """Write results.npz and results.json; the latter also says whose FlagEmbedding ran."""
    import numpy as np

    import FlagEmbedding

    served = FlagEmbedding.BGEM3FlagModel.__module__.split(".")[0]
    name = "flagvec" if served == "flagvec" else importlib.metadata.version("FlagEmbedding")
    np.savez(Path(folder) / "results.npz", **arrays)
    (Path(folder) / "results.json").write_text(json.dumps({"flag_embedding": name, **values}))
