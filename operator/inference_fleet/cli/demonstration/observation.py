"""What a demonstration saw, second by second and request by request."""

from __future__ import annotations

from dataclasses import dataclass, field

from inference_fleet.load.judgement import Objectives, Outcome


@dataclass(frozen=True, slots=True)
class FleetSample:
    """The fleet at one moment. at_seconds: after the load began. wanted, ready, starting: replicas."""

    at_seconds: float
    wanted: int
    ready: int
    starting: int
    requests_per_second: float
    in_flight: int


@dataclass(frozen=True, slots=True)
class ScaleEvent:
    """One change of the wanted count, as the object's history records it."""

    at_seconds: float
    variant: str
    from_replicas: int
    to_replicas: int
    rule: str
    message: str


@dataclass(slots=True)
class Observations:
    """Everything a demonstration saw; grows while it runs."""

    objectives: Objectives
    duration_seconds: float
    sent: int = 0
    in_flight: int = 0
    samples: list[FleetSample] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    events: list[ScaleEvent] = field(default_factory=list)
    overrun_p99: float | None = None
    devices_per_replica: int = 1

    def recent(self, *, now: float, seconds: float) -> list[Outcome]:
        """Outcomes that ended in the last so many seconds."""
        found = []
        for outcome in reversed(self.outcomes):
            if outcome.ended_seconds < now - seconds:
                break
            found.append(outcome)
        return found

    @property
    def replica_seconds(self) -> float:
        """Replica-seconds held, starting ones included: what is paid for."""
        total = 0.0
        for sample, later in zip(self.samples, self.samples[1:], strict=False):
            total += (sample.ready + sample.starting) * (later.at_seconds - sample.at_seconds)
        return total
