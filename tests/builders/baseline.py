"""Objects as a release of the operator left them in a cluster: recorded once, put back, and taken over by the present.

`python tests/data/record_baseline.py` records a release before it is published; a record is never made anew.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference_fleet.adapters.ports import Object, Resource
from inference_fleet.adapters.resources import (
    ACCELERATOR_CLASSES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DISRUPTION_BUDGETS,
    INFERENCE_DEPLOYMENTS,
    NETWORK_POLICIES,
    PODS,
    REPLICA_SETS,
    SERVICE_ACCOUNTS,
    SERVICES,
)

FOLDER = Path(__file__).resolve().parents[1] / "data/baselines"
# Owners come before what they own.
RECORDED: tuple[Resource, ...] = (
    ACCELERATOR_CLASSES,
    INFERENCE_DEPLOYMENTS,
    CONTROLLER_REVISIONS,
    CONFIG_MAPS,
    SERVICE_ACCOUNTS,
    SERVICES,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    REPLICA_SETS,
    PODS,
)
_OF_THE_CLUSTER = ("resourceVersion", "managedFields", "creationTimestamp", "selfLink")
Put = Callable[[Resource, Object], str]


def releases() -> list[str]:
    """Releases that are on record."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(release: str) -> list[Object]:
    """The objects of a release, owners first."""
    found: list[Object] = json.loads((FOLDER / f"{release}.json").read_text(encoding="utf-8"))
    order = {resource.kind: index for index, resource in enumerate(RECORDED)}
    return sorted(found, key=lambda obj: order[obj["kind"]])


def cleaned(obj: Mapping[str, Any]) -> Object:
    """An object as it is recorded: without what each cluster gives it anew; its uid stays, for its children."""
    kept = copy.deepcopy(dict(obj))
    for name in _OF_THE_CLUSTER:
        kept["metadata"].pop(name, None)
    return kept


def restore(objects: Sequence[Object], put: Put) -> None:
    """Put objects back by `put(resource, body) -> new uid`, with their owners' new uids."""
    resources = {resource.kind: resource for resource in RECORDED}
    uids: dict[str, str] = {}
    for obj in objects:
        body = copy.deepcopy(obj)
        old = body["metadata"].pop("uid")
        for owner in body["metadata"].get("ownerReferences") or ():
            owner["uid"] = uids[owner["uid"]]
        uids[old] = put(resources[body["kind"]], body)
