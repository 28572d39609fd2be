"""Generates the recording rules and alerts, so that every window and every objective is spelled the same way.

Writes manifests/monitoring/rules.yaml (plain Prometheus rule file) and
manifests/components/monitoring/prometheus-rule.yaml (the same groups as a PrometheusRule).

Attainment: good / (finished requests of all reasons but abort + requests turned away), per objective. The operator
exports `inference_fleet_objective_target_ratio` with the bucket edge `le` that judges the objective, so that the rules
need no thresholds of their own. Burn rates and windows: "The Site Reliability Workbook", chapter 5, table 5-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
HISTOGRAMS = {
    "TimeToFirstToken": "vllm:time_to_first_token_seconds_bucket",
    "InterTokenLatency": "vllm:request_time_per_output_token_seconds_bucket",
}
# (severity, factor of the budget's even spending, long window, short window, holds for)
BURN_RATES = (
    ("critical", 14.4, "1h", "5m", "2m"),
    ("critical", 6, "6h", "30m", "15m"),
    ("warning", 3, "1d", "2h", "1h"),
    ("warning", 1, "3d", "6h", "3h"),
)
RUNBOOKS = "https://github.com/inference-fleet/inference-fleet-operator/blob/main/docs/runbooks"
NAME = "{{ $labels.namespace }}/{{ $labels.inference_deployment }}"
BY = "namespace, inference_deployment"
OBJECTIVE = f"{BY}, objective, metric, le"
# Of two operators only the one that holds the Lease speaks of deployments. `max` drops the labels that tell which one
# it is: after a change of leader the series, and an alert that waits on it, go on as they were.
TARGET = f"max by ({OBJECTIVE}) (inference_fleet_objective_target_ratio%s)"
# One slow request in a quiet night is no reason to wake anybody: so many must have missed within the long window.
LEAST_MISSES = 5
SECONDS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200}


def _record(name: str, expr: str) -> dict[str, Any]:
    return {"record": name, "expr": expr}


def _alert(
    name: str, expr: str, *, holds: str, severity: str, summary: str, description: str, **labels: str
) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expr,
        "for": holds,
        "labels": {"severity": severity, **labels},
        "annotations": {"summary": summary, "description": description, "runbook_url": f"{RUNBOOKS}/{name}.md"},
    }


def _condition(kind: str, status: str) -> str:
    return f'max by ({BY}, type, status) (inference_fleet_condition{{type="{kind}", status="{status}"}}) == 1'


def recording_rules() -> list[dict[str, Any]]:
    """Per deployment: demand, turned-away requests, and per objective the share of misses over each window."""
    rules = []
    for window in WINDOWS:
        finished = f'sum by ({BY}) (rate(vllm:request_success_total{{finished_reason!="abort"}}[{window}]))'
        rejected = f"sum by ({BY}) (rate(vllm:admission_rejections_total[{window}]))"
        # A deployment that never turned a request away may lack the rejection series: `or` keeps the sum alive.
        rules.append(
            _record(
                f"inference_deployment:requests:rate{window}",
                f"({finished} + {rejected}) or {finished} or {rejected}",
            )
        )
        shares = []
        for metric, histogram in HISTOGRAMS.items():
            good = f"sum by ({BY}, le) (rate({histogram}[{window}]))"
            target = TARGET % f'{{metric="{metric}"}}'
            shares.append(
                f"(0 * {target} + on ({BY}, le) group_left () {good})"
                f" / on ({BY}) group_left () (inference_deployment:requests:rate{window} > 0)"
            )
        misses = " or ".join(f"clamp_min(1 - {share}, 0)" for share in shares)
        rules.append(_record(f"inference_deployment_objective:misses:ratio_rate{window}", misses))
    tokens = (
        f"sum by ({BY}) (rate(vllm:prompt_tokens_total[1h])) + sum by ({BY}) (rate(vllm:generation_tokens_total[1h]))"
    )
    rules.append(_record("inference_deployment:tokens:rate1h", tokens))
    rules.append(
        _record("inference_deployment:cost_per_hour:max", f"max by ({BY}, currency) (inference_fleet_cost_per_hour)")
    )
    rules.append(
        _record(
            "inference_deployment:cost_per_million_tokens:avg1h",
            "avg_over_time(inference_deployment:cost_per_hour:max[1h])"
            f" / on ({BY}) group_left () ((inference_deployment:tokens:rate1h > 0) * 3600 / 1e6)",
        )
    )
    return rules


def alerts() -> list[dict[str, Any]]:
    """What a person must look at. Each has a page in docs/runbooks."""
    rules = []
    for severity, factor, long, short, holds in BURN_RATES:
        misses = "inference_deployment_objective:misses:ratio_rate"
        budget = f"(1 - {TARGET % ''})"
        on = f"on ({OBJECTIVE})"
        missed = f"{misses}{long} * on ({BY}) group_left () inference_deployment:requests:rate{long} * {SECONDS[long]}"
        rules.append(
            _alert(
                "InferenceObjectiveBurningBudget",
                f"({misses}{long} > {on} {factor} * {budget}) and {on} ({misses}{short} > {on} {factor} * {budget})"
                f" and {on} ({missed} >= {LEAST_MISSES})",
                holds=holds,
                severity=severity,
                summary=f"{NAME} misses its objective {{{{ $labels.objective }}}}",
                description=f"Over the last {long} the error budget was spent at least {factor} times as fast"
                " as it may be:"
                " {{ $value | humanizePercentage }} of the requests missed {{ $labels.metric }} at {{ $labels.le }} s.",
                window=long,
            )
        )
    rules += [
        _alert(
            "InferenceEngineDown",
            'up{inference_deployment!=""} == 0',
            holds="5m",
            severity="warning",
            summary=f"An engine of {NAME} does not answer Prometheus",
            description="Pod {{ $labels.pod }} has not answered a scrape for five minutes.",
        ),
        _alert(
            "InferenceEngineSilent",
            # `engine` is the data-parallel rank: an idle one beside a busy one is no reason to worry.
            "(vllm:num_requests_running > 0) and on (namespace, pod, engine)"
            " (rate(vllm:iteration_tokens_total_count[5m]) == 0)",
            holds="5m",
            severity="critical",
            summary=f"An engine of {NAME} holds requests but makes no steps",
            description="Pod {{ $labels.pod }} reports running requests, yet its step counter stands still: it hangs.",
        ),
        _alert(
            "InferenceDeploymentNotAvailable",
            _condition("Available", "False"),
            holds="10m",
            severity="critical",
            summary=f"{NAME} does not serve with the capacity it needs",
            description="The condition Available has been False for ten minutes; its reason and message say why.",
        ),
        _alert(
            "InferenceCapacityUnavailable",
            _condition("CapacityAvailable", "False"),
            holds="15m",
            severity="warning",
            summary=f"{NAME} waits for accelerators",
            description="Replicas that are wanted cannot be scheduled for fifteen minutes.",
        ),
        _alert(
            "InferenceRolloutStuck",
            _condition("Stalled", "True"),
            holds="5m",
            severity="warning",
            summary=f"{NAME} makes no progress and will not without a change",
            description="The condition Stalled is True; its reason and message say what to change.",
        ),
        _alert(
            "InferenceMetricsUnknown",
            _condition("ScalingActive", "False"),
            holds="10m",
            severity="warning",
            summary=f"{NAME} is not scaled, because its metrics are unknown",
            description="Replicas are held where they are until Prometheus answers for the engines again.",
        ),
        _alert(
            "InferenceFleetNotReconciling",
            'absent(leader_election_master_status{name="inference-fleet"} == 1)'
            ' or (max(workqueue_longest_running_processor_seconds{name="inferencedeployment"}) > 300)'
            ' or (sum(rate(controller_runtime_reconcile_total{result="error"}[10m])) > 0 unless'
            ' sum(rate(controller_runtime_reconcile_total{result!="error"}[10m])) > 0)',
            holds="5m",
            severity="critical",
            summary="The inference fleet operator does not reconcile",
            description="No process holds the Lease, one object has been worked on for five minutes, or every attempt"
            " of the last ten minutes failed. Engines keep serving; nothing is scaled or rolled out.",
        ),
    ]
    return rules


def groups() -> list[dict[str, Any]]:
    """The rule groups, as Prometheus reads them."""
    return [
        {"name": "inference-fleet.recording", "interval": "30s", "rules": recording_rules()},
        {"name": "inference-fleet.alerts", "rules": alerts()},
    ]


def generate() -> Mapping[str, str]:
    """Every file this generator owns."""
    head = "# Generated by scripts/monitoring_rules.py: do not edit.\n"
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "inference-fleet", "labels": {"app.kubernetes.io/name": "inference-fleet"}},
        "spec": {"groups": groups()},
    }
    return {
        "manifests/monitoring/rules.yaml": head + yaml.safe_dump({"groups": groups()}, sort_keys=False, width=1000),
        "manifests/components/monitoring/prometheus-rule.yaml": head
        + yaml.safe_dump(rule, sort_keys=False, width=1000),
    }
