"""`LostColbert`: one warning for documents whose ColBERT vectors another tool removed or damaged."""

from __future__ import annotations

import logging
from dataclasses import dataclass

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class LostColbert:
    """Logs the first search of a store whose candidates include some without usable ColBERT vectors.

    Args:
        where: What messages call the store.
        remedy: A sentence that says how documents get their vectors again.

    Attributes:
        has_warned: Whether that was logged. Set it to False once the documents are repaired.
    """

    where: str
    remedy: str = "Adding them again restores the vectors"
    has_warned: bool = False

    def count(self, lost: int, candidates: int) -> None:
        """Log that `lost` of so many candidates have no usable ColBERT vectors, if there are any, and only once."""
        if not lost or self.has_warned:
            return
        self.has_warned = True
        _logger.warning(
            "%s: %d of the %d candidates of a search have no usable ColBERT vectors, because another tool removed or "
            "changed them. They are ranked by their other vectors, and further searches do not log this. %s",
            self.where,
            lost,
            candidates,
            self.remedy,
        )
