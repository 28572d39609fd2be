"""Reads the InferenceDeployment while the load runs: counts and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from inference_fleet.cli.demonstration.observation import FleetSample, Observations, ScaleEvent


def take_object(
    obj: Mapping[str, Any], seen: Observations, *, at_seconds: float, began: float, requests_per_second: float
) -> None:
    """Note the object's state. began: unix seconds at which the load began."""
    status = obj.get("status") or {}
    variants = status.get("variants") or []
    pools = [pool for variant in variants for pool in variant.get("pools") or []]
    wanted = int((status.get("scaling") or {}).get("desiredReplicas") or 0)
    ready = sum(int(pool.get("ready") or 0) for pool in pools)
    asked = sum(int(pool.get("replicas") or 0) for pool in pools)
    seen.samples.append(
        FleetSample(
            at_seconds=at_seconds,
            wanted=wanted,
            ready=ready,
            starting=max(0, asked - ready),
            requests_per_second=requests_per_second,
            in_flight=seen.in_flight,
        )
    )
    known = {(event.at_seconds, event.to_replicas) for event in seen.events}
    variant = variants[0]["name"] if len(variants) == 1 else "all"
    for entry in reversed((status.get("scaling") or {}).get("history") or []):
        event = ScaleEvent(
            at_seconds=datetime.fromisoformat(entry["time"]).timestamp() - began,
            variant=variant,
            from_replicas=int(entry["from"]),
            to_replicas=int(entry["to"]),
            rule=str(entry["rule"]),
            message=str(entry["message"]),
        )
        # What was decided while the fleet was set up is not the load's doing.
        if event.at_seconds >= 0 and (event.at_seconds, event.to_replicas) not in known:
            seen.events.append(event)


def decision_line(obj: Mapping[str, Any]) -> str:
    """The last decision for the screen."""
    last = ((obj.get("status") or {}).get("scaling") or {}).get("lastDecision")
    if not last:
        return ""
    words = str(last["message"])
    short = words if len(words) <= 60 else words[:57] + "..."
    return f"{last['rule']} {last['from']} -> {last['to']}: {short}"


def devices_per_replica(obj: Mapping[str, Any]) -> int:
    """Devices of one replica of the first variant."""
    variants = (obj.get("status") or {}).get("variants") or [{}]
    return int((variants[0].get("resolved") or {}).get("devicesPerReplica") or 1)
