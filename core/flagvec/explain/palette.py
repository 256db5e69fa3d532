"""The colours of the representations, the same in every view."""

from __future__ import annotations

# Blue, orange and green of Okabe and Ito's palette for all kinds of colour blindness; blue and green are lighter, to
# stand out from a dark background as well as from a white one.
COLOURS = {"dense": "#3d8fd1", "sparse": "#e69f00", "colbert": "#17a582"}


def rgba(name: str, alpha: float) -> str:
    """Return a representation's colour with an alpha from 0 to 1, as CSS has it."""
    red, green, blue = (int(COLOURS[name][at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:.2f})"
