"""Published step times beside our estimates."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from builders.intents import make_accelerator, make_intent
from inference_fleet.engine.catalogue import built_in_accelerators
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.engine_plan import EnginePlan
from inference_fleet.engine.model_catalogue import find_model
from inference_fleet.engine.weights import loaded_weights_bytes

_FILE = Path(__file__).parent.parent / "data" / "published-steps.json"


@dataclass(frozen=True, kw_only=True)
class PublishedStep:
    """One publication: its row, and our plan for the same."""

    row: Mapping[str, Any]
    plan: EnginePlan

    @property
    def ours_milliseconds(self) -> float:
        assert self.plan.estimate is not None
        return self.plan.estimate.inter_token_latency_at_one_seconds * 1000

    @property
    def ours_prefill_microseconds(self) -> float:
        return self.plan.step_time.per_prefill_token_seconds * 1e6

    @property
    def step_error(self) -> float:
        return self.ours_milliseconds / float(self.row["stepMilliseconds"]) - 1

    @property
    def prefill_error(self) -> float:
        return self.ours_prefill_microseconds / float(self.row["perPrefillTokenMicroseconds"]) - 1

    @property
    def possible(self) -> bool:
        """Whether the device could read the weights at all in the published time; some fits say it could not."""
        spec = built_in_accelerators()[self.row["accelerator"]]["spec"]
        weights = loaded_weights_bytes(find_model(self.row["model"]), dtype=None) or 0
        facts = find_model(self.row["model"])
        if facts is not None and facts.num_local_experts:
            return True
        seconds = weights / self.row["devices"] / (spec["performance"]["memoryBandwidthGigabytesPerSecond"] * 1e9)
        return bool(seconds * 1000 <= self.row["stepMilliseconds"])


@cache
def published_steps() -> Sequence[PublishedStep]:
    return [_step(row) for row in json.loads(_FILE.read_text(encoding="utf-8"))["rows"]]


def with_step() -> Sequence[PublishedStep]:
    return [step for step in published_steps() if "stepMilliseconds" in step.row]


def with_prefill() -> Sequence[PublishedStep]:
    return [step for step in published_steps() if "perPrefillTokenMicroseconds" in step.row]


def middle(errors: Sequence[float]) -> float:
    """The median of how far off."""
    return statistics.median(abs(error) for error in errors)


def _step(row: Mapping[str, Any]) -> PublishedStep:
    name = row["accelerator"]
    accelerator = make_accelerator(**{"devices": None, **built_in_accelerators()[name]["spec"]})
    settings = {"maxModelLen": 2048, "parallelism": {"tensorParallelSize": row["devices"]}}
    intent = make_intent(model={"huggingFace": {"repository": row["model"]}}, engine={"vllm": settings})
    plan = check_variant(intent, accelerator, accelerator_name=name).plan
    assert plan is not None, row
    return PublishedStep(row=row, plan=plan)
