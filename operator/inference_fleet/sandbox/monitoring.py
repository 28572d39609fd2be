"""Prometheus in the sandbox: what it scrapes and how it is started.

The rules that turn labels of pods into labels of series are those of `docs/how-to/scrape-engines.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_fleet.api.names import (
    ENGINE_CONTAINER,
    ENGINE_PORT_NAME,
    LABEL_DEPLOYMENT,
    LABEL_REVISION,
    LABEL_VARIANT,
    MANAGED_BY,
)
from inference_fleet.sandbox.control_plane import API_SERVER
from inference_fleet.sandbox.daemon import AnswersAt, Daemon
from inference_fleet.sandbox.node import CONTROL_PLANE_ADDRESS

PROMETHEUS_PORT = 9090
RULES_FOLDER = "rules"
# As pods reach it; there are no cluster names in a sandbox.
PROMETHEUS_INSIDE = f"http://{CONTROL_PLANE_ADDRESS}:{PROMETHEUS_PORT}"
_OPERATOR_CONTAINER, _OPERATOR_PORT_NAME = "operator", "http"

# Series label -> pod label.
_ENGINE_LABELS = {
    "inference_deployment": LABEL_DEPLOYMENT,
    "inference_variant": LABEL_VARIANT,
    "inference_revision": LABEL_REVISION,
}


def prometheus_config(*, scrape_interval_seconds: float, authority: Path, client: tuple[Path, Path]) -> dict[str, Any]:
    """The content of prometheus.yml: engine pods and operator pods, found through the API server.

    Rule files are read from RULES_FOLDER beside it, at the start and whenever Prometheus is sent SIGHUP.
    """
    interval = f"{round(scrape_interval_seconds * 1000)}ms"
    discovery = {
        "role": "pod",
        "api_server": API_SERVER,
        "tls_config": {"ca_file": str(authority), "cert_file": str(client[0]), "key_file": str(client[1])},
    }
    engines = {
        "job_name": "inference-engines",
        "kubernetes_sd_configs": [dict(discovery)],
        "relabel_configs": [
            _keep([f"__meta_kubernetes_pod_labelpresent_{_meta(LABEL_DEPLOYMENT)}"], regex="true"),
            _keep(["__meta_kubernetes_pod_container_name"], regex=ENGINE_CONTAINER),
            _keep(["__meta_kubernetes_pod_container_port_name"], regex=ENGINE_PORT_NAME),
            *_place(),
            *(_copy(f"__meta_kubernetes_pod_label_{_meta(label)}", to) for to, label in _ENGINE_LABELS.items()),
        ],
    }
    operators = {
        "job_name": "inference-fleet",
        # Its own series speak of other pods' namespaces: these labels stay as the operator gives them.
        "honor_labels": True,
        "kubernetes_sd_configs": [dict(discovery)],
        "relabel_configs": [
            _keep([f"__meta_kubernetes_pod_label_{_meta('app.kubernetes.io/name')}"], regex=MANAGED_BY),
            _keep(["__meta_kubernetes_pod_container_name"], regex=_OPERATOR_CONTAINER),
            _keep(["__meta_kubernetes_pod_container_port_name"], regex=_OPERATOR_PORT_NAME),
            *_place(),
        ],
    }
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval},
        "rule_files": [f"{RULES_FOLDER}/*.yaml"],
        "scrape_configs": [engines, operators],
    }


def prometheus(binaries: Mapping[str, Path], *, config: Path, data: Path) -> Daemon:
    """Prometheus, reachable from the control plane and from every pod."""
    argv = (
        str(binaries["prometheus"]),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        f"--web.listen-address=0.0.0.0:{PROMETHEUS_PORT}",
        "--storage.tsdb.retention.time=1d",
        "--log.level=warn",
    )
    return Daemon("prometheus", argv, AnswersAt(f"http://127.0.0.1:{PROMETHEUS_PORT}/-/ready"), niceness=1)


def _place() -> tuple[dict[str, Any], ...]:
    """Namespace and pod, and no target whose pod has ended or has no address."""
    return (
        {
            "source_labels": ["__meta_kubernetes_pod_phase"],
            "regex": "Pending|Succeeded|Failed",
            "action": "drop",
        },
        _copy("__meta_kubernetes_namespace", "namespace"),
        _copy("__meta_kubernetes_pod_name", "pod"),
    )


def _keep(labels: list[str], *, regex: str) -> dict[str, Any]:
    return {"source_labels": labels, "regex": regex, "action": "keep"}


def _copy(label: str, to: str) -> dict[str, Any]:
    return {"source_labels": [label], "target_label": to}


def _meta(label: str) -> str:
    """How service discovery spells a pod label's key: everything but letters and digits becomes `_`."""
    return "".join(character if character.isalnum() else "_" for character in label)
