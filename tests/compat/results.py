"""How the scripts that run a peer hand over what it gave."""

import importlib.metadata
import json
from pathlib import Path


def write(folder, arrays, values):
    """Write results.npz and results.json, and in the latter whose FlagEmbedding it was."""
    import numpy as np

    import FlagEmbedding

    served = FlagEmbedding.BGEM3FlagModel.__module__.split(".")[0]
    name = "flagvec" if served == "flagvec" else importlib.metadata.version("FlagEmbedding")
    np.savez(Path(folder) / "results.npz", **arrays)
    (Path(folder) / "results.json").write_text(json.dumps({"flag_embedding": name, **values}))
