"""One long-lived process of the real vLLM that checks command lines: its import takes longer than a thousand checks."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inference_fleet.sandbox.real_engine import ENVIRONMENT, RealEngine
from inference_fleet.sandbox.tools.cache import cache_folder

SCRIPT = Path(__file__).parents[1] / "engine" / "validator.py"
_NEWER_NAME = re.compile(r"vllm-([\d.]+)-python")


def newer_release() -> tuple[str, Path]:
    """Version and folder of the newest release's Python, which runs in the environment of the installed one."""
    found = [
        (match[1], path)
        for path in (cache_folder() / "engine").iterdir()
        if (match := _NEWER_NAME.fullmatch(path.name))
    ]
    assert found, "the newest release is not here: run `make setup-engine`"
    return max(found)


class VllmValidator:
    """Asks vLLM, one command line at a time. Use as a context manager."""

    def __init__(self, engine: RealEngine, *, environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [str(engine.python), str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # Whatever this shell has set for vLLM must not decide what vLLM says.
            env={"PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir(), **ENVIRONMENT, **(environment or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def parse(self, words: Sequence[str]) -> Mapping[str, Any]:
        """What vLLM's parser makes of the words: {"values"} or {"error", "stage"}."""
        return self._ask({"words": list(words), "configure": False})

    def configure(self, words: Sequence[str]) -> Mapping[str, Any]:
        """The same, and what its check of the whole configuration says."""
        return self._ask({"words": list(words), "configure": True})

    def _ask(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"vLLM's process ended on {question}: {self._log.read()[-2000:]}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer
