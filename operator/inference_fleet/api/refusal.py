"""Errors as values: what is wrong with a spec, where, and what would work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Remark:
    """Something about one field of a spec.

    path: the field, as in `spec.variants[0].engine.vllm.maxModelLen`. reason: CamelCase, from `Reason`.
    message: the fact, with both values. suggestion: what would work. variant: None if the whole object is concerned.
    """

    path: str
    reason: str
    message: str
    suggestion: str | None = None
    variant: str | None = None

    def text(self) -> str:
        """As one paragraph: field, fact, way out."""
        if not self.suggestion:
            return f"{self.path}: {self.message}"
        return f"{self.path}: {self.message.removesuffix('.')}. {self.suggestion}"


class Refusal(_Remark):
    """One reason why a spec (or one variant of it) is not accepted."""


class Advice(_Remark):
    """Something accepted that the user should know."""
