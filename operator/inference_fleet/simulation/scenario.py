"""What is simulated: a trace, engines, promises, bounds and chance. Everything a run depends on but the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from inference_fleet.engine.step_time import StepTimeModel
from inference_fleet.scaling.types import DAY_SECONDS, Limits, Mode, ObjectiveLimit, VariantLimits
from inference_fleet.simulation.fleet import FleetSettings, VariantModel
from inference_fleet.simulation.observe import METRIC_FIRST, METRIC_PACE
from inference_fleet.simulation.replica import EngineModel
from inference_fleet.simulation.request_log import Arrivals

# Llama-3.1-8B on one A100-80: coefficients of the public defaults of inference-sim (BLIS).
LLAMA_8B_A100: Final = EngineModel(
    step_time=StepTimeModel(
        base_seconds=16.442e-3, per_prefill_token_seconds=47.8e-6, per_decoding_sequence_seconds=18.2e-6
    ),
    kv_cache_tokens=467_000,
)
# Llama-3.3-70B on four H100 (tensor parallel), same source.
LLAMA_70B_4H100: Final = EngineModel(
    step_time=StepTimeModel(
        base_seconds=12.601e-3, per_prefill_token_seconds=76.4e-6, per_decoding_sequence_seconds=66.8e-6
    ),
    kv_cache_tokens=2_050_000,
)
# Llama-3.1-8B on two H100 (tensor parallel), for long contexts, same source.
LLAMA_8B_2H100: Final = EngineModel(
    step_time=StepTimeModel(
        base_seconds=6.91e-3, per_prefill_token_seconds=17.7e-6, per_decoding_sequence_seconds=2.8e-6
    ),
    kv_cache_tokens=2_110_000,
)
# An 8B model in FP8 on one L4, from the card's published figures: 8 GB of weights at 80 % of 300 GB/s; 16 GFLOP a token
# at 35 % of 242 TFLOPS; 12 GB of cache at 128 KiB a token.
LLAMA_8B_L4: Final = EngineModel(
    step_time=StepTimeModel(base_seconds=33e-3, per_prefill_token_seconds=190e-6, per_decoding_sequence_seconds=60e-6),
    kv_cache_tokens=92_000,
)
# Llama-3.3-70B in FP8 on four L4, from the card's figures as above: 70 GB at 80 % of 1.2 TB/s; 141 GFLOP a token at
# 30 % of 968 TFLOPS.
LLAMA_70B_4L4: Final = EngineModel(
    step_time=StepTimeModel(base_seconds=73e-3, per_prefill_token_seconds=485e-6, per_decoding_sequence_seconds=80e-6),
    kv_cache_tokens=60_000,
)
# Qwen3-32B on two H100 for llm-d's ramp: 64 GB of weights at the cards' bandwidth, llm-d's calibrated 15,928 prompt
# tokens a second, and decoding so slow at contexts of 5,000 tokens that 8 replicas keep all of the ramp and 7 just not.
QWEN_32B_2H100: Final = EngineModel(
    step_time=StepTimeModel(
        base_seconds=15e-3, per_prefill_token_seconds=62.8e-6, per_decoding_sequence_seconds=200e-6
    ),
    kv_cache_tokens=330_000,
)

# Every policy learns for this long before anything counts; a trace shorter than five times as long counts in full.
WARM_UP_SECONDS: Final = 600.0


# What costs are counted in where nothing has a price.
REPLICA_HOURS: Final = "replica-hours"


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """The requests of a trace under a name, and the digest of the file or generator they come from.

    remarks: what was repaired in the file, and what is odd in it.
    """

    name: str
    sha256: str
    arrivals: Arrivals
    remarks: tuple[str, ...] = ()

    @property
    def span_seconds(self) -> float:
        """Last arrival."""
        return self.arrivals[-1].arrival_seconds if self.arrivals else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One experiment. start: ready replicas of every variant at time zero. model_error: how much slower the engines
    are than the scaler is told, as a share (0.3 = 30 % slower). trace_class: smooth, bursty or flash. cost_unit: what
    the variants' costs are counted in, a currency or replica-hours.
    """

    workload: Workload
    variants: tuple[VariantModel, ...]
    objectives: tuple[ObjectiveLimit, ...]
    min_replicas: int = 1
    max_replicas: int = 64
    start: tuple[int, ...] = (6,)
    settings: FleetSettings = field(default_factory=FleetSettings)
    seed: int = 0
    model_error: float = 0.0
    rate_scale: float = 1.0
    warm_up_seconds: float = WARM_UP_SECONDS
    trace_class: str = "unknown"
    cost_unit: str = REPLICA_HOURS

    @property
    def warm_up(self) -> float:
        """Seconds that do not count: nothing on traces too short to spare them."""
        return self.warm_up_seconds if self.workload.span_seconds >= 5 * self.warm_up_seconds else 0.0

    @property
    def threshold_first(self) -> float:
        """Seconds to the first token that are promised; infinite if nothing is."""
        return _tightest(self.objectives, METRIC_FIRST)

    @property
    def threshold_pace(self) -> float:
        """Seconds per token that are promised; infinite if nothing is."""
        return _tightest(self.objectives, METRIC_PACE)

    @property
    def window_seconds(self) -> float:
        """The shortest window over which a promise is kept."""
        return min((o.window_seconds for o in self.objectives), default=DAY_SECONDS)

    @property
    def limits(self) -> Limits:
        """What the scaler is told: bounds, promises, and a prior of the engine that may be wrong."""
        return Limits(
            mode=Mode.AUTOMATIC,
            min_replicas=self.min_replicas,
            max_replicas=self.max_replicas,
            variants=tuple(
                VariantLimits(
                    name=variant.name,
                    min_replicas=0,
                    max_replicas=self.max_replicas,
                    max_num_seqs=variant.engine.max_num_seqs,
                    step_time=_faster(variant.engine.step_time, 1 + self.model_error),
                    kv_cache_tokens=variant.engine.kv_cache_tokens,
                    cost_per_replica_hour=variant.cost_per_hour,
                )
                for variant in self.variants
            ),
            objectives=self.objectives,
        )


def objectives_of(
    *, first_seconds: float | None, pace_seconds: float | None, target: float, window_seconds: float = DAY_SECONDS
) -> tuple[ObjectiveLimit, ...]:
    """The two usual promises; None leaves one out. `target`: share of 1."""
    both = (("first-token", METRIC_FIRST, first_seconds), ("pace", METRIC_PACE, pace_seconds))
    return tuple(
        ObjectiveLimit(name, metric, threshold_seconds=seconds, target=target, window_seconds=window_seconds)
        for name, metric, seconds in both
        if seconds is not None
    )


def _tightest(objectives: Sequence[ObjectiveLimit], metric: str) -> float:
    return min((o.threshold_seconds for o in objectives if o.metric == metric), default=float("inf"))


def _faster(model: StepTimeModel, factor: float) -> StepTimeModel:
    return StepTimeModel(
        base_seconds=model.base_seconds / factor,
        per_prefill_token_seconds=model.per_prefill_token_seconds / factor,
        per_decoding_sequence_seconds=model.per_decoding_sequence_seconds / factor,
    )


def engine_of(variant: VariantLimits) -> EngineModel:
    """The engine that a variant of a checked spec describes; a cache of unknown size is taken for large."""
    known = EngineModel(step_time=variant.step_time, max_num_seqs=variant.max_num_seqs)
    return known if variant.kv_cache_tokens is None else replace(known, kv_cache_tokens=variant.kv_cache_tokens)


ENGINES: Final = {
    "llama-8b-l4": LLAMA_8B_L4,
    "llama-8b-a100": LLAMA_8B_A100,
    "llama-8b-2xh100": LLAMA_8B_2H100,
    "llama-70b-4xh100": LLAMA_70B_4H100,
    "llama-70b-4xl4": LLAMA_70B_4L4,
    "qwen-32b-2xh100": QWEN_32B_2H100,
}
