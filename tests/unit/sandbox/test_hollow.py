from __future__ import annotations

from pathlib import Path

import yaml

from inference_fleet.sandbox import hollow

NOW = "2026-01-02T03:04:05Z"


def test_hollow_nodes_are_ready_with_their_gpus_from_the_start() -> None:
    node = hollow.node_object("hollow-1", gpus=4, now=NOW, kubernetes_version="1.37.1")
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert node["status"]["capacity"] == node["status"]["allocatable"]
    assert {condition["type"]: condition["status"] for condition in node["status"]["conditions"]}["Ready"] == "True"
    assert node["metadata"]["labels"]["nvidia.com/gpu.count"] == "4"


def test_nodes_without_gpus_offer_none() -> None:
    node = hollow.node_object("hollow-1", gpus=0, now=NOW, kubernetes_version="1.37.1")
    assert "nvidia.com/gpu" not in node["status"]["allocatable"]


def test_only_pods_that_ask_for_it_come_to_a_hollow_node() -> None:
    node = hollow.node_object("hollow-1", gpus=4, now=NOW, kubernetes_version="1.37.1")
    assert node["spec"]["taints"] == [{"key": hollow.HOLLOW_LABEL, "value": "true", "effect": "NoSchedule"}]
    assert node["metadata"]["labels"][hollow.HOLLOW_LABEL] == "true"


def test_names_count_from_one() -> None:
    assert hollow.node_names(3) == ("hollow-1", "hollow-2", "hollow-3")
    assert hollow.node_names(0) == ()


def test_kwok_reads_its_stages_and_touches_no_real_node(tmp_path: Path) -> None:
    daemon = hollow.kwok({"kwok": Path("/bin/kwok")}, kubeconfig=Path("/kc"), config=tmp_path / "kwok.yaml")
    assert f"--manage-nodes-with-label-selector={hollow.HOLLOW_LABEL}=true" in daemon.argv
    kinds = [stage["spec"]["resourceRef"]["kind"] for stage in yaml.safe_load_all((tmp_path / "kwok.yaml").read_text())]
    # Without a stage for nodes, kwok looks after none of them and so after no pod.
    assert sorted(kinds) == ["Node", "Pod", "Pod"]
