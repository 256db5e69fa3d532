"""FlagEmbedding's names, served by flagvec, for code that says ``from FlagEmbedding import BGEM3FlagModel``.

Only names imported from the top are covered. Where the FlagEmbedding distribution is installed it comes first; should
this module hide it all the same, it warns.
"""

import importlib.metadata
import warnings

from flagvec import AbsEmbedder, BGEM3FlagModel, FlagAutoModel, FlagModel

__all__ = ["AbsEmbedder", "BGEM3FlagModel", "FlagAutoModel", "FlagModel"]

try:
    _version = importlib.metadata.version("FlagEmbedding")
except importlib.metadata.PackageNotFoundError:
    pass
else:
    warnings.warn(
        f"flagvec's alias module hides the installed FlagEmbedding {_version}; uninstall it, or take it off the path "
        "in front of this one",
        stacklevel=2,
    )
