"""`inference-fleet/simulate/v1` and `compare/v1`: runs as JSON objects. What is not a number there is null."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from inference_fleet.simulation.course import FrontierPoint
from inference_fleet.simulation.optimum import cost_at
from inference_fleet.simulation.outcome import Percentiles
from inference_fleet.simulation.run import Run
from inference_fleet.simulation.scenario import Scenario

SIMULATE_VERSION: Final = "inference-fleet/simulate/v1"
COMPARE_VERSION: Final = "inference-fleet/compare/v1"
# A rival dominates where it is better by more than this, in points of attainment and as a share of cost.
DOMINANCE_POINTS: Final = 0.1
DOMINANCE_SHARE: Final = 0.03
RESAMPLES: Final = 1000
DAY_HOURS: Final = 24
# Hundredths of a point below which a figure is what it would be without the noise of floating point.
_NO_DIGITS: Final = 1e-6

Document = dict[str, Any]


def simulate_document(run: Run, *, tuned: bool = False) -> Document:
    """One run."""
    outcome = run.outcome
    return {
        "schemaVersion": SIMULATE_VERSION,
        "scenario": scenario_document(run.scenario),
        "policy": {"name": run.policy, "tuned": tuned, "parameters": dict(run.parameters)},
        "result": {
            "sent": outcome.sent,
            "completed": outcome.completed,
            "failed": outcome.failed,
            "tokens": outcome.tokens,
            "attainmentPercent": _number(outcome.attainment_percent),
            "worstTenMinutesPercent": _number(outcome.worst_ten_minutes_percent),
            "worstHourPercent": _number(outcome.worst_hour_percent),
            "worstWindowPercent": _number(outcome.worst_window_percent),
            "timeToFirstTokenSeconds": _percentiles(outcome.first_token),
            "interTokenLatencySeconds": _percentiles(outcome.inter_token),
            "replicaHours": _number(outcome.replica_hours),
            "cost": _number(outcome.cost),
            "meanReplicas": _number(outcome.mean_replicas),
            "peakReplicas": outcome.peak_replicas,
            "scaleEvents": outcome.scale_events,
            "directionChanges": outcome.direction_changes,
        },
        "cpuSeconds": _number(run.cpu_seconds),
    }


def scenario_document(scenario: Scenario) -> Document:
    """Everything a run depends on but the policy."""
    first = scenario.variants[0]
    return {
        "trace": scenario.workload.name,
        "traceSha256": scenario.workload.sha256,
        "traceClass": scenario.trace_class,
        "traceRemarks": list(scenario.workload.remarks),
        "requests": len(scenario.workload.arrivals),
        "spanSeconds": _number(scenario.workload.span_seconds),
        "rateScale": scenario.rate_scale,
        "seed": scenario.seed,
        "coldStartSeconds": {"mean": first.cold_start_seconds, "cv": first.cold_start_cv},
        "routing": str(scenario.settings.routing),
        "modelErrorPercent": 100 * scenario.model_error,
        "warmUpSeconds": scenario.warm_up,
        "start": list(scenario.start),
        "objectives": [
            {
                "name": objective.name,
                "metric": objective.metric,
                "thresholdSeconds": objective.threshold_seconds,
                "target": objective.target,
                "windowHours": round(objective.window_seconds / 3600),
            }
            for objective in scenario.objectives
        ],
        "costUnit": scenario.cost_unit,
        "limits": {"min": scenario.min_replicas, "max": scenario.max_replicas},
        "variants": [
            {
                "name": variant.name,
                "costPerHour": variant.cost_per_hour,
                "stepTime": {
                    "baseSeconds": variant.engine.step_time.base_seconds,
                    "perPrefillTokenSeconds": variant.engine.step_time.per_prefill_token_seconds,
                    "perDecodingSequenceSeconds": variant.engine.step_time.per_decoding_sequence_seconds,
                },
                "maxNumSeqs": variant.engine.max_num_seqs,
                "maxNumBatchedTokens": variant.engine.max_num_batched_tokens,
                "kvCacheTokens": variant.engine.kv_cache_tokens,
            }
            for variant in scenario.variants
        ],
    }


@dataclass(frozen=True, slots=True)
class Frontier:
    """The optimum of one trace and seed."""

    trace: str
    seed: int
    points: tuple[FrontierPoint, ...]


def compare_document(runs: Sequence[Document], frontiers: Sequence[Frontier]) -> Document:
    """All runs, the optimum, and per policy and class of trace: the ratio to the optimum and who is better."""
    return {
        "schemaVersion": COMPARE_VERSION,
        "runs": list(runs),
        "optimum": [
            {
                "trace": frontier.trace,
                "seed": frontier.seed,
                "frontier": [
                    {
                        "attainmentPercent": point.attainment_percent,
                        "replicaHours": point.replica_hours,
                        "cost": point.cost,
                    }
                    for point in frontier.points
                ],
            }
            for frontier in frontiers
        ],
        "summary": _summary(runs, {(frontier.trace, frontier.seed): frontier.points for frontier in frontiers}),
    }


def ratio_of(run: Document, frontiers: Mapping[tuple[str, int], Sequence[FrontierPoint]]) -> float | None:
    """Cost by the optimum's cost at the run's own attainment; None without an optimum."""
    points = frontiers.get((run["scenario"]["trace"], run["scenario"]["seed"]))
    attainment, cost = run["result"]["attainmentPercent"], run["result"]["cost"]
    if not points or attainment is None or cost is None:
        return None
    return float(cost / cost_at(points, attainment))


def judged_percent(run: Mapping[str, Any]) -> float | None:
    """The share that the promise is judged by: of all requests, or of the worst window where objectives name one."""
    result = run["result"]
    hours = min((o.get("windowHours", DAY_HOURS) for o in run["scenario"]["objectives"]), default=DAY_HOURS)
    share: float | None = result["attainmentPercent" if hours >= DAY_HOURS else "worstWindowPercent"]
    return share


def target_percent(run: Mapping[str, Any]) -> float:
    """What the promise asks for; 0 where nothing is promised."""
    return 100 * max((float(objective["target"]) for objective in run["scenario"]["objectives"]), default=0.0)


def is_kept(run: Mapping[str, Any]) -> bool:
    """Whether the promise was kept; not where no request was judged."""
    share = judged_percent(run)
    return share is not None and share >= target_percent(run)


def shown_percent(value: float | None) -> str:
    """For people, two digits, cut off and not rounded: 98.996 is no 99.00, nor is 99.998 all there is."""
    return "-" if value is None else f"{math.floor(value * 100 + _NO_DIGITS) / 100:.2f}"


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """None without any."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def resampled_interval(ratios: Sequence[float]) -> list[float] | None:
    """95 % of the geometric mean over resampled runs; None below three runs."""
    if len(ratios) < 3:
        return None
    chance = random.Random(0)  # noqa: S311 - repeatable, not secret
    means = sorted(geometric_mean(chance.choices(ratios, k=len(ratios))) or 0.0 for _ in range(RESAMPLES))
    return [means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]]


def _summary(runs: Sequence[Document], frontiers: Mapping[tuple[str, int], Sequence[FrontierPoint]]) -> list[Document]:
    classes = sorted({run["scenario"]["traceClass"] for run in runs})
    policies = list(dict.fromkeys((run["policy"]["name"], run["policy"]["tuned"]) for run in runs))
    rows = []
    for policy, tuned in policies:
        for trace_class in ("all", *classes):
            own = [run for run in runs if _is(run, policy, tuned) and trace_class in ("all", _class(run))]
            if not own:
                continue
            ratios = [ratio for run in own if (ratio := ratio_of(run, frontiers)) is not None]
            attainments = [run["result"]["attainmentPercent"] for run in own]
            rows.append(
                {
                    "policy": policy,
                    "tuned": tuned,
                    "traceClass": trace_class,
                    "ratioGeomean": geometric_mean(ratios),
                    "ratioCi95": resampled_interval(ratios),
                    "minAttainmentPercent": min((a for a in attainments if a is not None), default=None),
                    "dominatedBy": _dominating(own, runs),
                }
            )
    return rows


def _dominating(own: Sequence[Document], runs: Sequence[Document]) -> list[str]:
    """`policy on trace` wherever another has at least as much of both and clearly more of one."""
    found = []
    for run in own:
        for other in runs:
            same = all(other["scenario"][key] == run["scenario"][key] for key in ("trace", "seed"))
            if other is not run and same and dominates(other["result"], run["result"]):
                name = other["policy"]["name"] + ("-tuned" if other["policy"]["tuned"] else "")
                found.append(f"{name} on {run['scenario']['trace']}")
    return sorted(set(found))


def dominates(one: Document, other: Document) -> bool:
    """Whether one result keeps as much as the other at no higher cost and is clearly better in one of the two."""
    if None in (one["attainmentPercent"], other["attainmentPercent"]):
        return False
    gained = one["attainmentPercent"] - other["attainmentPercent"]
    saved = 1 - one["cost"] / other["cost"] if other["cost"] else 0.0
    return gained >= 0 and saved >= 0 and (gained > DOMINANCE_POINTS or saved > DOMINANCE_SHARE)


def _is(run: Document, policy: str, tuned: bool) -> bool:
    return (run["policy"]["name"], run["policy"]["tuned"]) == (policy, tuned)


def _class(run: Document) -> str:
    return str(run["scenario"]["traceClass"])


def _percentiles(percentiles: Percentiles) -> Document:
    return {key: _number(value) for key, value in asdict(percentiles).items()}


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None
