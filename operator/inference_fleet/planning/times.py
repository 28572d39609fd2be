"""Kubernetes' times as numbers."""

from __future__ import annotations

from datetime import datetime


def unix_seconds(text: object) -> float | None:
    """A time of the API server (RFC 3339) in Unix seconds; None if absent or unreadable."""
    try:
        return datetime.fromisoformat(str(text)).timestamp() if text else None
    except ValueError:
        return None
