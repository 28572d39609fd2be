"""A long-running program of the sandbox: how it is started and how one sees that it is ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class AnswersAt:
    """Ready when a GET of `url` is answered with 200. `authority` and `client` are for https."""

    url: str
    authority: Path | None = None
    client: tuple[Path, Path] | None = None


@dataclass(frozen=True)
class FileAppears:
    """Ready when `path` is there."""

    path: Path


Readiness = AnswersAt | FileAppears


@dataclass(frozen=True)
class Daemon:
    """One program.

    Attributes
    ----------
    name
        What status and logs call it; its output goes to `logs/<name>.log`.
    argv
        The command line; the first word is a path.
    ready
        How its readiness shows.
    environment
        Variables besides the supervisor's own.
    niceness
        Added to the supervisor's, so that pods and control plane come before what only watches them.
    """

    name: str
    argv: Sequence[str]
    ready: Readiness
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0
