"""flagvec under FlagEmbedding's name, for code that says ``from FlagEmbedding import BGEM3FlagModel``.

Python imports an installed FlagEmbedding instead of this module. If the path order hides FlagEmbedding, this module
warns.
"""

import importlib.metadata
import warnings
from typing import NoReturn

from flagvec import AbsEmbedder, BGEM3FlagModel, FlagAutoModel, FlagModel, alias
from flagvec.alias.inference.embedder.model_mapping import EmbedderModelClass

__all__ = ["AbsEmbedder", "BGEM3FlagModel", "EmbedderModelClass", "FlagAutoModel", "FlagModel"]

# This makes the module a package, with its submodules inside flagvec. A folder named FlagEmbedding would overwrite
# FlagEmbedding's own files if both were installed.
__path__ = alias.__path__


def __getattr__(name: str) -> NoReturn:
    alias.refuse("FlagEmbedding", name)


try:
    _version = importlib.metadata.version("FlagEmbedding")
except importlib.metadata.PackageNotFoundError:
    pass
else:
    warnings.warn(
        f"flagvec's alias module hides the installed FlagEmbedding {_version}: uninstall FlagEmbedding, or put its "
        "folder before flagvec's in sys.path",
        stacklevel=2,
    )
