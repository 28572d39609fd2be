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
    """One time series panel: queries as (expression, legend). A panel that may be empty says EMPTY_IS_GOOD."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    description: str = ""
    least: int | None = 0


EMPTY_IS_GOOD = "Empty is good."
DEPLOYMENT_LEGEND = "{{namespace}}/{{inference_deployment}}"


def own(name: str, *, selector: str = "", by: str = BY) -> str:
    """A gauge of the operator, summed over variants. `max`: while the lead changes, two operators may speak."""
    return f"sum by ({by}) (max by ({BY}, inference_variant) ({name}{{{selector}}}))"


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
    Panel("Ready replicas", "short", ((own("inference_fleet_ready_replicas"), DEPLOYMENT_LEGEND),)),
    Panel(
        "Wanted but not ready",
        "short",
        ((f"{own('inference_fleet_desired_replicas')} - {own('inference_fleet_ready_replicas')}", DEPLOYMENT_LEGEND),),
    ),
    Panel(
        "Not ready",
        "short",
        ((f'max by ({BY}) (inference_fleet_condition{{type="Ready", status="False"}}) == 1', DEPLOYMENT_LEGEND),),
        EMPTY_IS_GOOD,
    ),
    Panel("Requests", "reqps", (("inference_deployment:requests:rate5m", DEPLOYMENT_LEGEND),)),
    Panel("Waiting requests", "short", ((f"sum by ({BY}) (vllm:num_requests_waiting)", DEPLOYMENT_LEGEND),)),
    Panel(
        "Share of requests that miss an objective (1 h)",
        "percentunit",
        ((BURN, "{{inference_deployment}} {{objective}}"),),
    ),
    Panel(
        "Generated tokens per second",
        "short",
        ((f"sum by ({BY}) (rate(vllm:generation_tokens_total[$__rate_interval]))", DEPLOYMENT_LEGEND),),
    ),
    Panel(
        "KV cache in use, fullest pod",
        "percentunit",
        ((f"max by ({BY}) (vllm:kv_cache_usage_perc)", DEPLOYMENT_LEGEND),),
    ),
    Panel(
        "Cost per hour",
        "short",
        (("inference_deployment:cost_per_hour:max", "{{namespace}}/{{inference_deployment}} {{currency}}"),),
    ),
)

DEPLOYMENT = (
    Panel(
        "Replicas",
        "short",
        (
            (own("inference_fleet_desired_replicas", selector=ONE), "wanted"),
            (own("inference_fleet_ready_replicas", selector=ONE), "ready"),
            (own("inference_fleet_starting_replicas", selector=ONE), "starting"),
            (own("inference_fleet_terminating_replicas", selector=ONE), "terminating"),
        ),
    ),
    Panel(
        "Ready by variant",
        "short",
        ((f"max by (inference_variant) (inference_fleet_ready_replicas{{{ONE}}})", "{{inference_variant}}"),),
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
    Panel(
        "Error budget left (3 days)",
        "percentunit",
        (
            (
                f"1 - inference_deployment_objective:misses:ratio_rate3d{{{ONE}}} / on (objective, metric, le)"
                f" (1 - max by (objective, metric, le) (inference_fleet_objective_target_ratio{{{ONE}}}))",
                "{{objective}}",
            ),
        ),
        "Below zero: more requests missed within three days than the objective allows.",
        least=None,
    ),
    Panel(
        "Conditions that are not as they should be",
        "short",
        (
            (
                f'max by (type, status) (inference_fleet_condition{{{ONE}, type!~"Reconciling|Stalled|ScalingLimited|Suspended|UpdateAvailable", status!="True"}}) == 1',
                "{{type}} {{status}}",
            ),
            (
                f'max by (type, status) (inference_fleet_condition{{{ONE}, type=~"Stalled|ScalingLimited|Suspended", status="True"}}) == 1',
                "{{type}}",
            ),
        ),
        EMPTY_IS_GOOD,
    ),
    Panel("Time to first token", "s", quantiles("vllm:time_to_first_token_seconds", ONE)),
    Panel("Time per output token, per request", "s", quantiles("vllm:request_time_per_output_token_seconds", ONE)),
    Panel("Time between tokens", "s", quantiles("vllm:inter_token_latency_seconds", ONE)),
    Panel("Whole request", "s", quantiles("vllm:e2e_request_latency_seconds", ONE)),
    Panel("Time in the queue", "s", quantiles("vllm:request_queue_time_seconds", ONE)),
    Panel(
        "Running and waiting",
        "short",
        (
            (f"sum(vllm:num_requests_running{{{ONE}}})", "running"),
            (f"sum(vllm:num_requests_waiting{{{ONE}}})", "waiting"),
        ),
    ),
    Panel("Running by pod", "short", ((f"sum by (pod) (vllm:num_requests_running{{{ONE}}})", "{{pod}}"),)),
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
        "Tokens per second",
        "short",
        (
            (f"sum(rate(vllm:prompt_tokens_total{{{ONE}}}[$__rate_interval]))", "prompt"),
            (f"sum(rate(vllm:generation_tokens_total{{{ONE}}}[$__rate_interval]))", "generated"),
        ),
    ),
    Panel(
        "Tokens per step",
        "short",
        (
            (
                f"sum(rate(vllm:iteration_tokens_total_sum{{{ONE}}}[$__rate_interval])) / sum(rate(vllm:iteration_tokens_total_count{{{ONE}}}[$__rate_interval]))",
                "mean",
            ),
        ),
        "How well steps are filled: a full batch generates one token for each running request, prefill adds its own.",
    ),
    Panel("KV cache in use", "percentunit", ((f"max by (pod) (vllm:kv_cache_usage_perc{{{ONE}}})", "{{pod}}"),)),
    Panel(
        "Preemptions",
        "short",
        ((f"sum(rate(vllm:num_preemptions_total{{{ONE}}}[$__rate_interval]))", "per second"),),
        "Requests thrown back into the queue because the KV cache was full: their work is done twice.",
    ),
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
    Panel(
        "Speculation: drafted tokens accepted",
        "percentunit",
        (
            (
                f"sum(rate(vllm:spec_decode_num_accepted_tokens_total{{{ONE}}}[$__rate_interval])) / sum(rate(vllm:spec_decode_num_draft_tokens_total{{{ONE}}}[$__rate_interval]))",
                "accepted",
            ),
        ),
        "Empty without speculation.",
    ),
    Panel(
        "Speculation: tokens per step of a request",
        "short",
        (
            (
                f"1 + sum(rate(vllm:spec_decode_num_accepted_tokens_total{{{ONE}}}[$__rate_interval])) / sum(rate(vllm:spec_decode_num_drafts_total{{{ONE}}}[$__rate_interval]))",
                "acceptance length",
            ),
        ),
        "Empty without speculation.",
    ),
    Panel(
        "Cost per hour",
        "short",
        ((f"inference_deployment:cost_per_hour:max{{{ONE}}}", "{{currency}}"),),
    ),
    Panel(
        "How far forecasts were off",
        "percentunit",
        ((f"max(inference_fleet_forecast_error_ratio{{{ONE}}})", "forecast error"),),
        "A scaler whose forecasts are further off keeps more replicas.",
    ),
)

OPERATOR = (
    Panel("Leader", "short", (('leader_election_master_status{name="inference-fleet"}', "{{pod}}"),)),
    Panel("Queue depth", "short", (('workqueue_depth{name="inferencedeployment"}', "{{pod}}"),)),
    Panel("Wait in the queue", "s", quantiles("workqueue_queue_duration_seconds", "")),
    Panel(
        "Reconciles",
        "ops",
        (("sum by (result) (rate(controller_runtime_reconcile_total[$__rate_interval]))", "{{result}}"),),
    ),
    Panel("Reconcile time", "s", quantiles("controller_runtime_reconcile_time_seconds", "")),
    Panel(
        "Longest work under way",
        "s",
        (('workqueue_longest_running_processor_seconds{name="inferencedeployment"}', "{{pod}}"),),
    ),
    Panel(
        "API calls",
        "reqps",
        (("sum by (code, method) (rate(rest_client_requests_total[$__rate_interval]))", "{{method}} {{code}}"),),
    ),
    Panel(
        "Writes",
        "wps",
        (("sum by (kind, verb) (rate(inference_fleet_writes_total[$__rate_interval]))", "{{verb}} {{kind}}"),),
    ),
    Panel(
        "Looks at Prometheus",
        "ops",
        (("sum by (result) (rate(inference_fleet_ticks_total[$__rate_interval]))", "{{result}}"),),
    ),
    Panel(
        "Age of the oldest signal",
        "s",
        (("max by (namespace, inference_deployment, signal) (inference_fleet_signal_age_seconds)", DEPLOYMENT_LEGEND),),
    ),
    Panel(
        "Corrections by resync",
        "short",
        (("sum(increase(inference_fleet_resync_corrections_total[$__rate_interval]))", "objects"),),
        "What the watches had lost. Zero is good.",
    ),
)

COST = (
    Panel(
        "Cost per hour",
        "short",
        (("inference_deployment:cost_per_hour:max", "{{namespace}}/{{inference_deployment}} {{currency}}"),),
    ),
    Panel(
        "Cost per hour, all",
        "short",
        (("sum by (currency) (inference_deployment:cost_per_hour:max)", "{{currency}}"),),
    ),
    Panel(
        "Cost per million tokens (1 h)",
        "short",
        (
            (
                "inference_deployment:cost_per_million_tokens:avg1h",
                "{{namespace}}/{{inference_deployment}} {{currency}}",
            ),
        ),
        "Prompt and generated tokens alike.",
    ),
    Panel(
        "Tokens per second (1 h)",
        "short",
        (("inference_deployment:tokens:rate1h", DEPLOYMENT_LEGEND),),
    ),
    Panel(
        "Replicas that drain: paid for, without new work",
        "short",
        ((own("inference_fleet_terminating_replicas"), DEPLOYMENT_LEGEND),),
    ),
    Panel(
        "Replicas that start: paid for, not serving yet",
        "short",
        ((own("inference_fleet_starting_replicas"), DEPLOYMENT_LEGEND),),
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
        "fieldConfig": {
            "defaults": {"unit": panel.unit, **({} if panel.least is None else {"min": panel.least})},
            "overrides": [],
        },
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
