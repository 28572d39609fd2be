"""Generates the Grafana dashboards: fleet, one deployment, operator, cost.

Every panel is a title, a unit and queries; the layout follows from the order. Queries use the names of
docs/reference/metrics.md and of vLLM's metric page, nothing else, and the target labels that the documented scrape
configuration sets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

COLUMNS = 24
PANEL_WIDTH = 8
PANEL_HEIGHT = 8
ONE = 'namespace="$namespace", inference_deployment="$deployment"'
BY = "namespace, inference_deployment"
BURN = "inference_deployment_objective:misses:ratio_rate1h"


@dataclass(frozen=True)
class Panel:
    """One time series panel: queries as (expression, legend)."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    description: str = ""


def quantiles(histogram: str, selector: str) -> tuple[tuple[str, str], ...]:
    """p50, p95 and p99 of a histogram over the dashboard's rate interval."""
    return tuple(
        (
            f"histogram_quantile({q}, sum by (le) (rate({histogram}_bucket{{{selector}}}[$__rate_interval])))",
            f"p{q * 100:g}",
        )
        for q in (0.5, 0.95, 0.99)
    )


FLEET = (
    Panel(
        "Ready replicas",
        "short",
        ((f"sum by ({BY}) (inference_fleet_ready_replicas)", "{{namespace}}/{{inference_deployment}}"),),
    ),
    Panel(
        "Wanted but not ready",
        "short",
        (
            (
                f"sum by ({BY}) (inference_fleet_desired_replicas) - sum by ({BY}) (inference_fleet_ready_replicas)",
                "{{namespace}}/{{inference_deployment}}",
            ),
        ),
    ),
    Panel("Requests", "reqps", (("inference_deployment:requests:rate5m", "{{namespace}}/{{inference_deployment}}"),)),
    Panel(
        "Waiting requests",
        "short",
        ((f"sum by ({BY}) (vllm:num_requests_waiting)", "{{namespace}}/{{inference_deployment}}"),),
    ),
    Panel(
        "Share of requests that miss an objective (1 h)",
        "percentunit",
        ((BURN, "{{inference_deployment}} {{objective}}"),),
    ),
    Panel(
        "Not ready",
        "short",
        (('inference_fleet_condition{type="Ready", status="False"} == 1', "{{namespace}}/{{inference_deployment}}"),),
        "Empty is good.",
    ),
    Panel(
        "Tokens",
        "short",
        (
            (
                f"sum by ({BY}) (rate(vllm:generation_tokens_total[$__rate_interval]))",
                "{{inference_deployment}} generated",
            ),
        ),
    ),
    Panel(
        "KV cache in use",
        "percentunit",
        ((f"max by ({BY}) (vllm:kv_cache_usage_perc)", "{{namespace}}/{{inference_deployment}}"),),
    ),
    Panel(
        "Cost per hour",
        "short",
        ((f"sum by ({BY}, currency) (inference_fleet_cost_per_hour)", "{{inference_deployment}} {{currency}}"),),
    ),
)

DEPLOYMENT = (
    Panel(
        "Replicas",
        "short",
        (
            (f"sum(inference_fleet_desired_replicas{{{ONE}}})", "wanted"),
            (f"sum(inference_fleet_ready_replicas{{{ONE}}})", "ready"),
            (f"sum(inference_fleet_starting_replicas{{{ONE}}})", "starting"),
            (f"sum(inference_fleet_terminating_replicas{{{ONE}}})", "terminating"),
        ),
    ),
    Panel(
        "Decisions by rule",
        "short",
        (
            (
                f"sum by (rule) (increase(inference_fleet_scaling_decisions_total{{{ONE}}}[$__rate_interval]))",
                "{{rule}}",
            ),
        ),
    ),
    Panel(
        "Objectives: share of misses",
        "percentunit",
        (
            (f"inference_deployment_objective:misses:ratio_rate5m{{{ONE}}}", "{{objective}} 5 min"),
            (f"{BURN}{{{ONE}}}", "{{objective}} 1 h"),
        ),
    ),
    Panel("Time to first token", "s", quantiles("vllm:time_to_first_token_seconds", ONE)),
    Panel("Time per output token, per request", "s", quantiles("vllm:request_time_per_output_token_seconds", ONE)),
    Panel("Time in the queue", "s", quantiles("vllm:request_queue_time_seconds", ONE)),
    Panel(
        "Running and waiting",
        "short",
        (
            (f"sum(vllm:num_requests_running{{{ONE}}})", "running"),
            (f"sum(vllm:num_requests_waiting{{{ONE}}})", "waiting"),
        ),
    ),
    Panel("Running by pod", "short", ((f"vllm:num_requests_running{{{ONE}}}", "{{pod}}"),)),
    Panel(
        "Requests by finish",
        "reqps",
        (
            (
                f"sum by (finished_reason) (rate(vllm:request_success_total{{{ONE}}}[$__rate_interval]))",
                "{{finished_reason}}",
            ),
            (
                f"sum by (reason) (rate(vllm:admission_rejections_total{{{ONE}}}[$__rate_interval]))",
                "rejected: {{reason}}",
            ),
        ),
    ),
    Panel(
        "Tokens",
        "short",
        (
            (f"sum(rate(vllm:prompt_tokens_total{{{ONE}}}[$__rate_interval]))", "prompt"),
            (f"sum(rate(vllm:generation_tokens_total{{{ONE}}}[$__rate_interval]))", "generated"),
        ),
    ),
    Panel("KV cache in use", "percentunit", ((f"vllm:kv_cache_usage_perc{{{ONE}}}", "{{pod}}"),)),
    Panel(
        "Prefix cache hits",
        "percentunit",
        (
            (
                f"sum(rate(vllm:prefix_cache_hits_total{{{ONE}}}[$__rate_interval])) / sum(rate(vllm:prefix_cache_queries_total{{{ONE}}}[$__rate_interval]))",
                "hit ratio",
            ),
        ),
    ),
)

OPERATOR = (
    Panel("Leader", "short", (('leader_election_master_status{name="inference-fleet"}', "{{pod}}"),)),
    Panel("Queue depth", "short", (('workqueue_depth{name="inferencedeployment"}', "{{pod}}"),)),
    Panel(
        "Reconciles",
        "ops",
        (("sum by (result) (rate(controller_runtime_reconcile_total[$__rate_interval]))", "{{result}}"),),
    ),
    Panel("Reconcile time", "s", quantiles("controller_runtime_reconcile_time_seconds", "")),
    Panel(
        "API calls",
        "reqps",
        (("sum by (code, method) (rate(rest_client_requests_total[$__rate_interval]))", "{{method}} {{code}}"),),
    ),
    Panel("Age of the oldest signal", "s", (("max by (signal) (inference_fleet_signal_age_seconds)", "{{signal}}"),)),
)

COST = (
    Panel(
        "Cost per hour",
        "short",
        (
            (
                f"sum by ({BY}, currency) (inference_fleet_cost_per_hour)",
                "{{namespace}}/{{inference_deployment}} {{currency}}",
            ),
        ),
    ),
    Panel(
        "Cost per million tokens",
        "short",
        (
            (
                "inference_deployment:cost_per_million_tokens:avg1h",
                "{{namespace}}/{{inference_deployment}} {{currency}}",
            ),
        ),
    ),
    Panel(
        "Tokens per second",
        "short",
        (("inference_deployment:tokens:rate1h", "{{namespace}}/{{inference_deployment}}"),),
    ),
)


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${datasource}"}
    row, column = divmod(number, COLUMNS // PANEL_WIDTH)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": source,
        "gridPos": {"x": column * PANEL_WIDTH, "y": row * PANEL_HEIGHT, "w": PANEL_WIDTH, "h": PANEL_HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": source, "expr": expr, "legendFormat": legend}
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
    }


def dashboard(uid: str, title: str, panels: Sequence[Panel], *choices: dict[str, Any]) -> dict[str, Any]:
    """One Grafana dashboard (schema 39, Grafana 10 and newer)."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": uid,
        "title": title,
        "tags": ["inference-fleet"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [source, *choices]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def dashboards() -> dict[str, dict[str, Any]]:
    """File name -> dashboard."""
    namespace = _choice("namespace", "Namespace", "label_values(inference_fleet_desired_replicas, namespace)")
    deployment = _choice(
        "deployment",
        "Deployment",
        'label_values(inference_fleet_desired_replicas{namespace="$namespace"}, inference_deployment)',
    )
    return {
        "fleet": dashboard("inference-fleet", "Inference fleet", FLEET),
        "deployment": dashboard(
            "inference-fleet-one", "Inference fleet / deployment", DEPLOYMENT, namespace, deployment
        ),
        "operator": dashboard("inference-fleet-operator", "Inference fleet / operator", OPERATOR),
        "cost": dashboard("inference-fleet-cost", "Inference fleet / cost", COST),
    }


def generate() -> Mapping[str, str]:
    """The dashboards as files, and as ConfigMaps that Grafana's sidecar picks up."""
    files: dict[str, str] = {}
    config_maps = []
    for name, content in dashboards().items():
        text = json.dumps(content, indent=1) + "\n"
        files[f"manifests/monitoring/dashboards/{name}.json"] = text
        config_maps.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"inference-fleet-dashboard-{name}", "labels": {"grafana_dashboard": "1"}},
                "data": {f"inference-fleet-{name}.json": text},
            }
        )
    head = "# Generated by scripts/dashboards.py: do not edit.\n"
    files["manifests/components/monitoring/dashboards.yaml"] = head + yaml.safe_dump_all(config_maps, sort_keys=False)
    return files
