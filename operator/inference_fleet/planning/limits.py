"""From an accepted spec to the bounds and promises the scaler works with."""

from __future__ import annotations

from collections.abc import Container
from typing import Final

from inference_fleet.api.inference_deployment import MOST_REPLICAS, Scaling
from inference_fleet.engine.step_time import DEFAULT_STEP_TIME
from inference_fleet.planning.acceptance import Acceptance, VariantAcceptance
from inference_fleet.planning.schedules import schedule_limits
from inference_fleet.scaling.types import Limits, Mode, ObjectiveLimit, VariantLimits

# For a variant whose plan is not known (its class is gone while its pods serve): vLLM's default on small devices.
FALLBACK_MAX_NUM_SEQS: Final = 256


def limits_of(acceptance: Acceptance, *, carried: Container[str], now: float) -> Limits | None:
    """Bounds, objectives and what a replica of each variant carries; None if the spec cannot be read.

    A refused variant gets no replicas, unless it is among the `carried`: its pods of a former spec serve and scale on.
    """
    spec = acceptance.spec
    if spec is None:
        return None
    return Limits(
        mode=Mode(spec.scaling.mode),
        min_replicas=spec.scaling.min_replicas,
        max_replicas=spec.scaling.max_replicas,
        variants=tuple(_variant(variant, acceptance, carried=carried) for variant in acceptance.variants),
        objectives=tuple(
            ObjectiveLimit(o.name, o.metric, o.threshold_seconds, o.target_ratio, o.window_seconds)
            for o in spec.objectives or ()
        ),
        schedules=schedule_limits(spec.scaling.schedules or (), now=now),
    )


def _variant(variant: VariantAcceptance, acceptance: Acceptance, *, carried: Container[str]) -> VariantLimits:
    assert acceptance.spec is not None
    said = next(entry for entry in acceptance.spec.variants if entry.name == variant.name)
    maximum = _most(acceptance.spec.scaling) if said.max_replicas is None else said.max_replicas
    engine = variant.engine
    barred = bool(variant.refusals) and variant.name not in carried
    return VariantLimits(
        name=variant.name,
        min_replicas=0 if barred else min(said.min_replicas or 0, maximum),
        max_replicas=0 if barred else maximum,
        max_num_seqs=engine.effective.max_num_seqs if engine else FALLBACK_MAX_NUM_SEQS,
        kv_cache_tokens=engine.kv_cache_tokens if engine else None,
        step_time=engine.step_time if engine else DEFAULT_STEP_TIME,
        cost_per_replica_hour=replica_cost(variant),
    )


def _most(scaling: Scaling) -> int:
    """What one variant may have at any time, as far as the bounds of all together go."""
    if scaling.mode != Mode.AUTOMATIC.value:
        return MOST_REPLICAS
    return max(scaling.max_replicas, *(schedule.max_replicas or 0 for schedule in scaling.schedules or ()), 0)


def replica_cost(variant: VariantAcceptance) -> float | None:
    """What one replica costs for one hour, in the class's currency; None without a price."""
    if variant.accelerator is None or variant.engine is None or variant.accelerator.cost_per_device_hour is None:
        return None
    return float(variant.accelerator.cost_per_device_hour * variant.engine.devices_per_replica)
