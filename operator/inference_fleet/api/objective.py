"""An objective: what callers were promised."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from inference_fleet.api.model_base import ApiModel
from inference_fleet.api.schema_rules import Rule

ShortName = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]


class Objective(ApiModel):
    """A share of requests that stays below a latency threshold."""

    rules: ClassVar = (
        Rule(
            "double(self.targetPercent) > 0.0 && double(self.targetPercent) < 100.0",
            "targetPercent must lie above 0 and below 100",
            lambda objective: 0.0 < float(objective.target_percent) < 100.0,
            field="targetPercent",
        ),
    )

    name: ShortName = Field(description="Name, unique in the list.")
    metric: Literal["TimeToFirstToken", "InterTokenLatency"] = Field(
        description="TimeToFirstToken: until the first token. InterTokenLatency: a request's mean per output token."
    )
    threshold_milliseconds: Annotated[int, Field(ge=1, le=3_600_000)] = Field(
        description="Threshold. Judged at the next stricter edge of vLLM's histogram if it is not on one."
    )
    target_percent: Annotated[str, Field(min_length=1, max_length=8, pattern=r"^[0-9]{1,3}(\.[0-9]{1,4})?$")] = Field(
        description="Share of requests that must meet it, a decimal string such as 99 or 99.5."
    )

    window_hours: Annotated[int, Field(ge=1, le=24)] = Field(
        24,
        description="Rolling window over which the share is kept, hours: 1 for every hour, at a higher cost.",
    )

    @property
    def threshold_seconds(self) -> float:
        """The threshold in seconds."""
        return self.threshold_milliseconds / 1000.0

    @property
    def target_ratio(self) -> float:
        """The target as a share of 1."""
        return float(self.target_percent) / 100.0

    @property
    def window_seconds(self) -> float:
        """The window in seconds."""
        return self.window_hours * 3600.0
