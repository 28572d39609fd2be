"""The roles of the operator and of its users as manifests, from the one table of permissions."""

from __future__ import annotations

from collections.abc import Iterable

from inference_fleet.api.names import ACCELERATOR_CLASS_PLURAL, GROUP, INFERENCE_DEPLOYMENT_PLURAL
from inference_fleet.controller.permissions import Permission, permissions

NAME = "inference-fleet"
NAMESPACE = "inference-fleet-system"
_HEADER = "# Generated from operator/inference_fleet/controller/permissions.py by `make generate`; do not edit.\n"
_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete", "deletecollection")


def generate() -> dict[str, str]:
    """One file for the operator's own roles, one that extends the roles of a cluster's users."""
    return {"manifests/base/rbac.yaml": _operator(), "manifests/base/user-roles.yaml": _users()}


def _operator() -> str:
    documents = (
        _role("ClusterRole", rules=permissions("cluster")),
        _binding("ClusterRole"),
        _role("Role", rules=permissions("own namespace")),
        _binding("Role"),
    )
    return _HEADER + "---\n".join(documents)


def _role(kind: str, *, rules: Iterable[Permission]) -> str:
    lines = [
        "apiVersion: rbac.authorization.k8s.io/v1",
        f"kind: {kind}",
        "metadata:",
        f"  name: {NAME}",
        *_namespace(kind),
        "rules:",
    ]
    for permission in rules:
        lines += [f"# {permission.reason}", *_rule(permission.resource.group, (permission.path,), permission.verbs)]
    return "\n".join(lines) + "\n"


def _binding(kind: str) -> str:
    lines = (
        "apiVersion: rbac.authorization.k8s.io/v1",
        f"kind: {kind}Binding",
        "metadata:",
        f"  name: {NAME}",
        *_namespace(kind),
        "roleRef:",
        "  apiGroup: rbac.authorization.k8s.io",
        f"  kind: {kind}",
        f"  name: {NAME}",
        "subjects:",
        "- kind: ServiceAccount",
        f"  name: {NAME}",
        f"  namespace: {NAMESPACE}",
    )
    return "\n".join(lines) + "\n"


def _users() -> str:
    """Whoever may view or edit Deployments may do so with our kinds; devices belong to the platform team."""
    view = (*_rule(GROUP, (INFERENCE_DEPLOYMENT_PLURAL, ACCELERATOR_CLASS_PLURAL), _READ),)
    edit = (
        *_rule(GROUP, (INFERENCE_DEPLOYMENT_PLURAL,), _WRITE),
        *_rule(GROUP, (f"{INFERENCE_DEPLOYMENT_PLURAL}/scale",), ("get", "update", "patch")),
    )
    documents = (
        _aggregated("view", extends=("view",), rules=view),
        _aggregated("edit", extends=("edit", "admin"), rules=edit),
    )
    return _HEADER + "---\n".join(documents)


def _aggregated(name: str, *, extends: Iterable[str], rules: Iterable[str]) -> str:
    lines = (
        "apiVersion: rbac.authorization.k8s.io/v1",
        "kind: ClusterRole",
        "metadata:",
        f"  name: {NAME}-{name}",
        "  labels:",
        *(f'    rbac.authorization.k8s.io/aggregate-to-{role}: "true"' for role in extends),
        "rules:",
        *rules,
    )
    return "\n".join(lines) + "\n"


def _namespace(kind: str) -> tuple[str, ...]:
    return (f"  namespace: {NAMESPACE}",) if kind == "Role" else ()


def _rule(group: str, resources: Iterable[str], verbs: Iterable[str]) -> tuple[str, ...]:
    return (
        f'- apiGroups: ["{group}"]',
        f"  resources: [{', '.join(resources)}]",
        f"  verbs: [{', '.join(verbs)}]",
    )
