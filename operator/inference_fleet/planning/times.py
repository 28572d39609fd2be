"""Kubernetes' times as numbers."""

from __future__ import annotations

from datetime import datetime


def seconds(text: object) -> float | None:
    """Kubernetes' time (RFC 3339) in unix seconds; None if absent or unreadable."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None
