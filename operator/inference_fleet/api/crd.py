"""The CustomResourceDefinitions of both kinds, from the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from inference_fleet.api import names
from inference_fleet.api.accelerator_class import AcceleratorClassSpec
from inference_fleet.api.inference_deployment import InferenceDeploymentSpec
from inference_fleet.api.schema_rules import KEY
from inference_fleet.api.status import InferenceDeploymentStatus
from inference_fleet.api.structural_schema import structural_schema

# Deliberately not "all": `kubectl delete all --all` should not take a fleet away.
_CATEGORY: Final = "inference"


def _rule(expression: str, message: str) -> dict[str, str]:
    return {"rule": expression, "message": message}


_NAME_RULE: Final = _rule(
    f"self.metadata.name.size() <= {names.MAXIMUM_NAME_LENGTH} &&"
    " self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    f"metadata.name must have at most {names.MAXIMUM_NAME_LENGTH} characters, start with a letter and hold only"
    " lower-case letters, digits and dashes (DNS-1035): Services and pods are named after it",
)
_CLASS_NAME_RULE: Final = _rule(
    "self.metadata.name.size() <= 63",
    "metadata.name must have at most 63 characters",
)

# What an object has before the operator has looked at it. Without it, tools that wait by kstatus (Helm 4, Flux) would
# take one that nobody has touched yet for ready.
_UNSEEN: Final = {"observedGeneration": -1}

_READY: Final = '.status.conditions[?(@.type=="Ready")]'
_DEPLOYMENT_COLUMNS: Final = (
    ("Ready", "string", f"{_READY}.status", 0, "Whether the spec is accepted, rolled out and serving."),
    ("Reason", "string", f"{_READY}.reason", 0, "Why it is ready or not."),
    ("Model", "string", ".status.summary.model", 0, "Short name of the weights."),
    ("Replicas", "string", ".status.summary.replicas", 0, "Ready and wanted replicas."),
    ("Devices", "integer", ".status.summary.devices", 0, "Devices held by the pods."),
    ("Cost", "string", ".status.cost.perHour", 0, "Price of the pods that exist, an hour."),
    ("Version", "string", ".status.summary.version", 1, "vLLM release."),
    ("Quantization", "string", ".status.summary.quantization", 1, "How the weights are quantized."),
    ("Message", "string", f"{_READY}.message", 1, "Why it is ready or not, for people."),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since creation."),
)
_CLASS_COLUMNS: Final = (
    ("Platform", "string", ".spec.platform", 0, "Which build of the engine runs on it."),
    ("Architecture", "string", ".spec.architecture", 0, "Compute capability or target."),
    ("Memory", "string", ".spec.deviceMemory", 0, "Memory of one device."),
    ("Resource", "string", ".spec.devices.extendedResource", 0, "Extended resource of the devices."),
    ("Price", "string", ".spec.cost.perDeviceHour", 0, "Price of one device for one hour."),
    ("Age", "date", ".metadata.creationTimestamp", 0, "Time since creation."),
)


def inference_deployment_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of InferenceDeployment."""
    version = {
        "additionalPrinterColumns": _columns(_DEPLOYMENT_COLUMNS),
        "schema": {
            "openAPIV3Schema": _root(
                "One served model: its weights, its engine, what it may run on and what its callers were promised.",
                spec=structural_schema(InferenceDeploymentSpec),
                status={**structural_schema(InferenceDeploymentStatus), "default": _UNSEEN},
                name_rule=_NAME_RULE,
            )
        },
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
    }
    return _definition(
        kind=names.INFERENCE_DEPLOYMENT_KIND,
        plural=names.INFERENCE_DEPLOYMENT_PLURAL,
        short_name="infd",
        scope="Namespaced",
        version=version,
    )


def accelerator_class_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of AcceleratorClass."""
    version = {
        "additionalPrinterColumns": _columns(_CLASS_COLUMNS),
        "schema": {
            "openAPIV3Schema": _root(
                "One kind of device: facts, where its nodes are, and what it costs.",
                spec=structural_schema(AcceleratorClassSpec),
                status=None,
                name_rule=_CLASS_NAME_RULE,
            )
        },
    }
    return _definition(
        kind=names.ACCELERATOR_CLASS_KIND,
        plural=names.ACCELERATOR_CLASS_PLURAL,
        short_name="accel",
        scope="Cluster",
        version=version,
    )


def _root(
    description: str, *, spec: Mapping[str, Any], status: Mapping[str, Any] | None, name_rule: Mapping[str, str]
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string", "description": "Version of the API this object is written in."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    if status is not None:
        properties["status"] = status
    return {
        "type": "object",
        "description": description,
        "required": ["spec"],
        "properties": properties,
        KEY: [dict(name_rule)],
    }


def _columns(columns: Sequence[tuple[str, str, str, int, str]]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "type": kind,
            "jsonPath": path,
            "description": description,
            **({"priority": priority} if priority else {}),
        }
        for name, kind, path, priority, description in columns
    ]


def _definition(*, kind: str, plural: str, short_name: str, scope: str, version: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{names.GROUP}",
            "labels": {"app.kubernetes.io/name": "inference-fleet", "app.kubernetes.io/component": "crd"},
        },
        "spec": {
            "group": names.GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": [_CATEGORY],
            },
            "scope": scope,
            "versions": [{"name": names.VERSION, "served": True, "storage": True, **version}],
        },
    }
