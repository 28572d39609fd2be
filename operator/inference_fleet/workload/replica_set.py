"""A pool's ReplicaSet: the rendered record of a revision."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.intent import VariantIntent
from inference_fleet.api.names import ANNOTATION_RENDERED
from inference_fleet.engine.engine_plan import EnginePlan
from inference_fleet.workload.labels import pool_labels, pool_selector
from inference_fleet.workload.owner import Owner, owner_reference
from inference_fleet.workload.pod_template import pod_template


def replica_set(
    owner: Owner,
    *,
    intent: VariantIntent,
    engine: EnginePlan,
    accelerator: AcceleratorClassSpec,
    revision: str,
    replicas: int,
) -> dict[str, Any]:
    """The ReplicaSet of (variant, revision). Only its count is ever changed after it was created."""
    template = pod_template(owner, intent=intent, engine=engine, accelerator=accelerator, revision=revision)
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": replica_set_name(owner, variant=intent.variant, revision=revision),
            "namespace": owner.namespace,
            "labels": pool_labels(owner.name, variant=intent.variant, revision=revision),
            "annotations": {ANNOTATION_RENDERED: render_hash(template, revision=revision)},
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": pool_selector(owner.name, variant=intent.variant, revision=revision)},
            "template": template,
        },
    }


def replica_set_name(owner: Owner, *, variant: str, revision: str) -> str:
    """`<name>-<variant>-<revision>`."""
    return f"{owner.name}-{variant}-{revision}"


def render_hash(template: Mapping[str, Any], *, revision: str) -> str:
    """Ten characters over the template; the revision's own name in it does not count."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":")).replace(revision, "")
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def rendered_of(replica_set: Mapping[str, Any]) -> str | None:
    """The hash a ReplicaSet was rendered with, live or newly built."""
    value = (replica_set["metadata"].get("annotations") or {}).get(ANNOTATION_RENDERED)
    return str(value) if value else None
