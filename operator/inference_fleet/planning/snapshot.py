"""Everything one reconcile looks at, as it stood in the store: raw objects, trimmed at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """One InferenceDeployment and what belongs to it.

    deployment: the custom resource. Children are those in its namespace that carry its label, whoever owns them:
    the plan tells ours from others by owner UID. accelerator_classes: by name, all of the cluster.
    namespace_labels: labels of the object's namespace, None if unknown.
    """

    deployment: Object
    replica_sets: tuple[Object, ...] = ()
    pods: tuple[Object, ...] = ()
    controller_revisions: tuple[Object, ...] = ()
    services: tuple[Object, ...] = ()
    service_accounts: tuple[Object, ...] = ()
    disruption_budgets: tuple[Object, ...] = ()
    network_policies: tuple[Object, ...] = ()
    accelerator_classes: Mapping[str, Object] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] | None = None
    pod_loads: Mapping[str, float] = field(default_factory=dict)
    """Pod name -> requests it runs and queues, as last sampled. Only chooses who goes first; best effort."""
    reported_lengths: Mapping[str, int] = field(default_factory=dict)
    """Variant -> longest sequence its engines say they take, tokens. Only shown, where the spec leaves it to them."""
    refused_write: str | None = None
    """What the API server said to the last attempt, where it refused a write of this object. Only shown."""
