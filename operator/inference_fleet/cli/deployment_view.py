"""An InferenceDeployment as the commands for people look at it: its object read once, gaps filled, nothing asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydantic import ValidationError

from inference_fleet.api.conditions import Condition
from inference_fleet.api.status import InferenceDeploymentStatus
from inference_fleet.planning.times import unix_seconds

NOT_SEEN: Final = "the operator has not seen it yet"
# What a condition says while all is well; those not named here only exist while something is to be told.
_WELL: Final = ("Accepted", "Available", "Ready", "ScalingActive", "RolledOut", "CapacityAvailable")
_DAY_SECONDS: Final = 86400
_DURATIONS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, kw_only=True)
class DeploymentView:
    """One InferenceDeployment. Times are Unix seconds; None where nothing is known."""

    namespace: str
    name: str
    spec: Mapping[str, Any]
    status: InferenceDeploymentStatus
    generation: int
    created: float | None

    @property
    def seen(self) -> bool:
        """Whether the operator has told anything about it."""
        # The definition's default is -1.
        return (self.status.observed_generation or 0) > 0

    @property
    def outdated(self) -> bool:
        """Whether the status speaks of an older spec."""
        return self.seen and self.generation > (self.status.observed_generation or 0)

    def condition(self, kind: str) -> Condition | None:
        """The condition of a type, if it is there."""
        return next((each for each in self.status.conditions or () if each.type == kind), None)

    @property
    def ready(self) -> str:
        """True, False, or Unknown before the operator has looked."""
        found = self.condition("Ready")
        return found.status if found else "Unknown"

    @property
    def reason(self) -> str:
        """Reason of Ready, or - before the operator has looked."""
        found = self.condition("Ready")
        return found.reason if found else "-"

    @property
    def message(self) -> str:
        """Message of Ready."""
        found = self.condition("Ready")
        return found.message if found else NOT_SEEN

    @property
    def remarks(self) -> tuple[Condition, ...]:
        """Conditions that are not as they are while all is well."""
        return tuple(
            each
            for each in self.status.conditions or ()
            if (each.status != "True" if each.type in _WELL else each.status == "True")
        )

    @property
    def desired_replicas(self) -> int:
        """Replicas wanted now."""
        scaling = self.status.scaling
        return (scaling.desired_replicas or 0) if scaling else 0

    @property
    def ready_replicas(self) -> int:
        """Replicas that serve."""
        return self.status.ready_replicas or 0

    @property
    def unschedulable(self) -> int:
        """Replicas that wait for devices."""
        return sum(pool.unschedulable or 0 for variant in self.status.variants or () for pool in variant.pools or ())

    @property
    def terminating(self) -> int:
        """Replicas that finish their last requests."""
        return sum(pool.terminating or 0 for variant in self.status.variants or () for pool in variant.pools or ())

    @property
    def starting(self) -> int:
        """Replicas on their way."""
        return max(0, (self.status.replicas or 0) - self.ready_replicas - self.unschedulable)

    @property
    def model(self) -> str:
        """Short name of the weights."""
        summary = self.status.summary
        return (summary.model if summary else None) or "-"

    @property
    def devices(self) -> int:
        """Devices that the pods hold."""
        summary = self.status.summary
        return (summary.devices if summary else None) or 0

    @property
    def cost_per_hour(self) -> Decimal | None:
        """What the pods cost for one hour."""
        cost = self.status.cost
        try:
            return Decimal(cost.per_hour) if cost and cost.per_hour else None
        except InvalidOperation:
            return None

    @property
    def currency(self) -> str | None:
        """Currency of the cost."""
        return self.status.cost.currency if self.status.cost else None

    @property
    def mode(self) -> str:
        """Automatic, Manual or External."""
        scaling = self.status.scaling
        return (scaling.mode if scaling else None) or str((self.spec.get("scaling") or {}).get("mode") or "-")

    @property
    def signals(self) -> str:
        """Fresh, Idle, Unknown or -."""
        scaling = self.status.scaling
        return (scaling.signals.state if scaling and scaling.signals else None) or "-"


def view(obj: Mapping[str, Any]) -> DeploymentView:
    """The object as it came from the API server. Raises ValueError, naming it, if its status is of no known form."""
    metadata = obj.get("metadata") or {}
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", ""))
    try:
        status = InferenceDeploymentStatus.model_validate(obj.get("status") or {})
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ValueError(f"{namespace}/{name}: status.{where} is of no form this release knows") from error
    return DeploymentView(
        namespace=namespace,
        name=name,
        spec=obj.get("spec") or {},
        status=status,
        generation=int(metadata.get("generation") or 0),
        created=unix_seconds(metadata.get("creationTimestamp")),
    )


def duration(seconds: float | None) -> str:
    """As kubectl writes ages: 3d, 2h, 14m, 5s; under ten the next smaller unit is added where it is not zero."""
    if seconds is None:
        return "-"
    left = max(0, int(seconds))
    for place, (size, unit) in enumerate(_DURATIONS):
        if left < size:
            continue
        count, rest = divmod(left, size)
        if count < 10 and place + 1 < len(_DURATIONS):
            smaller, name = _DURATIONS[place + 1]
            if rest >= smaller:
                return f"{count}{unit}{rest // smaller}{name}"
        return f"{count}{unit}"
    return "0s"


def clock(seconds: float, *, now: float, zone: tzinfo) -> str:
    """A time of day, with the date if it is not within a day of now."""
    moment = datetime.fromtimestamp(seconds, tz=zone)
    return moment.strftime("%H:%M:%S" if abs(now - seconds) < _DAY_SECONDS else "%Y-%m-%d %H:%M")
