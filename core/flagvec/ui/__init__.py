"""A local page over a store: search, weights, filters, and why a hit is a hit. docs/ui.md shows it."""

from __future__ import annotations

from flagvec.ui.server import RunningPage, serve

__all__ = ["RunningPage", "serve"]
