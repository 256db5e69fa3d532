"""FlagEmbedding's names, served by flagvec, for code that says ``from FlagEmbedding import BGEM3FlagModel``.

Where the FlagEmbedding distribution is installed it comes first; should this module hide it all the same, it warns.
"""

import importlib.metadata
import warnings
from typing import NoReturn

from flagvec import AbsEmbedder, BGEM3FlagModel, FlagAutoModel, FlagModel, alias
from flagvec.alias.inference.embedder.model_mapping import EmbedderModelClass

__all__ = ["AbsEmbedder", "BGEM3FlagModel", "EmbedderModelClass", "FlagAutoModel", "FlagModel"]

# Makes this module a package whose submodules lie in flagvec. A folder called FlagEmbedding would overwrite upstream's
# files where both are installed.
__path__ = alias.__path__


def __getattr__(name: str) -> NoReturn:
    alias.refuse("FlagEmbedding", name)


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
