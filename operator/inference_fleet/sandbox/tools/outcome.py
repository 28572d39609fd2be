"""How a search for a tool ends where one source does not have it, and where none has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NotHere:
    """One source that could not supply the tool.

    Attributes
    ----------
    source
        The place, for example "KUBEBUILDER_ASSETS" or "https://dl.k8s.io/...".
    reason
        Why not, for example "is version 1.35.2, want 1.37.1".
    """

    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class ToolUnavailable(Exception):
    """No source could supply a tool; says what was tried and why each failed.

    Attributes
    ----------
    tool
        Its name, with the version where that matters.
    attempts
        Every source that was asked, in order.
    """

    def __init__(self, tool: str, *, attempts: tuple[NotHere, ...]) -> None:
        self.tool = tool
        self.attempts = attempts
        super().__init__("\n  ".join((f"{tool} cannot be found, fetched or built:", *map(str, attempts))))
