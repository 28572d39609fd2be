from __future__ import annotations

from typing import Any

from inference_fleet.sandbox.nodes_ready import ready_nodes


def _node(name: str, *, ready: str, gpus: str | None) -> dict[str, Any]:
    allocatable = {} if gpus is None else {"nvidia.com/gpu": gpus}
    conditions = [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions, "allocatable": allocatable}}


def test_a_node_counts_once_it_is_ready_and_offers_its_gpus() -> None:
    nodes = [
        _node("whole", ready="True", gpus="4"),
        _node("starting", ready="False", gpus="4"),
        _node("lost", ready="Unknown", gpus="4"),
        _node("without-plug-in", ready="True", gpus=None),
        _node("half", ready="True", gpus="2"),
        {"metadata": {"name": "just-made"}},
    ]
    assert ready_nodes({"items": nodes}, gpus=4) == {"whole"}
    assert ready_nodes({"items": nodes}, gpus=0) == {"without-plug-in"}
    assert ready_nodes({}, gpus=4) == set()
