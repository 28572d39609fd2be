"""What a node is told on its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inference_fleet.sandbox.node import MAX_STATE_PATH
from inference_fleet.sandbox.node.gpus import Gpus
from inference_fleet.sandbox.node.images import EngineKind
from inference_fleet.sandbox.tools import DEFAULT_KUBERNETES_VERSION, KUBERNETES_VERSIONS

# The outer network ends with 10.244.255.0/24; 10.244.0.0/24 is the control plane's.
_LAST_INDEX = 254
# An L40S as GPU feature discovery shows it.
_DEFAULT_PRODUCT, _DEFAULT_MEMORY_MEBIBYTES = "NVIDIA-L40S", 46068


@dataclass(frozen=True)
class NodeSettings:
    """One node; see the package's documentation for each setting."""

    name: str
    index: int
    state: Path
    kubeconfig: Path
    proxy_kubeconfig: Path
    gpus: Gpus
    engine: EngineKind
    kubernetes_version: str
    labels: tuple[tuple[str, str], ...]
    longest_restart_seconds: int | None


def parse_settings(argv: Sequence[str]) -> NodeSettings:
    """The settings of a command line; ends the process, as argparse does, where they make no sense."""
    parser = argparse.ArgumentParser(prog="python -m inference_fleet.sandbox.node")
    parser.add_argument("--name", required=True)
    parser.add_argument("--index", required=True, type=int)
    parser.add_argument("--state", required=True, type=Path)
    parser.add_argument("--kubeconfig", required=True, type=Path)
    parser.add_argument("--proxy-kubeconfig", required=True, type=Path)
    parser.add_argument("--gpus", type=int, default=0)
    parser.add_argument("--gpu-product", default=_DEFAULT_PRODUCT)
    parser.add_argument("--gpu-memory-mebibytes", type=int, default=_DEFAULT_MEMORY_MEBIBYTES)
    parser.add_argument("--engine", type=EngineKind, choices=tuple(EngineKind), default=EngineKind.EMULATED)
    parser.add_argument("--kubernetes", choices=tuple(KUBERNETES_VERSIONS.values()), default=DEFAULT_KUBERNETES_VERSION)
    parser.add_argument("--label", action="append", type=_label, default=[])
    parser.add_argument(
        "--longest-restart-seconds", type=int, help="cap of the delay before a crashed container's restart"
    )
    found = parser.parse_args(argv)
    if not 1 <= found.index <= _LAST_INDEX:
        parser.error(f"--index is 1 to {_LAST_INDEX}")
    if found.gpus < 0:
        parser.error("--gpus is 0 or more")
    state = found.state.resolve()
    if len(str(state)) > MAX_STATE_PATH:
        parser.error(f"--state: {state} is longer than {MAX_STATE_PATH} characters: sockets could not lie in it")
    return NodeSettings(
        name=found.name,
        index=found.index,
        state=state,
        kubeconfig=found.kubeconfig.resolve(),
        proxy_kubeconfig=found.proxy_kubeconfig.resolve(),
        gpus=Gpus(count=found.gpus, product=found.gpu_product, memory_mebibytes=found.gpu_memory_mebibytes),
        engine=found.engine,
        kubernetes_version=found.kubernetes,
        labels=tuple(found.label),
        longest_restart_seconds=found.longest_restart_seconds,
    )


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
