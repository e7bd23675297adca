"""Numbers as people read them."""

from __future__ import annotations

from typing import Any


def size_text(count: Any) -> str:
    """Bytes in the unit that suits: `23.3 kB`; an empty text where there is none."""
    if not isinstance(count, (int, float)):
        return ""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
