"""The roles of the operator and of its users as manifests, from the one table of permissions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from inference_fleet.adapters.resources import NAMESPACES
from inference_fleet.api.names import ACCELERATOR_CLASS_PLURAL, GROUP, INFERENCE_DEPLOYMENT_PLURAL
from inference_fleet.controller.permissions import Permission, permissions

NAME = "inference-fleet"
NAMESPACE = "inference-fleet-system"
# Where the component `namespaced` lets the operator work; people copy it for theirs.
MODELS = "models"
_HEADER = "# Generated from operator/inference_fleet/controller/permissions.py by `make generate`; do not edit.\n"
_READ = ("get", "list", "watch")
_WRITE = ("create", "update", "patch", "delete", "deletecollection")


def generate() -> dict[str, str]:
    """The operator's own roles, what extends the roles of users, and the rules for the chart's templates."""
    return {
        "manifests/base/rbac.yaml": _operator(),
        "manifests/base/view-role.yaml": _HEADER + _aggregated("view", extends=("view",), rules=_VIEW),
        "manifests/components/edit-role/edit-role.yaml": _HEADER
        + _aggregated("edit", extends=("edit", "admin"), rules=_EDIT),
        "manifests/components/namespaced/cluster-role.yaml": _HEADER
        + _role("ClusterRole", rules=_lists()["ofTheCluster"]),
        "manifests/components/namespaced/engines-role.yaml": _HEADER + _engines(),
        "charts/inference-fleet/templates/_rules.tpl": _chart(),
    }


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
        *_rules(rules),
    ]
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


def _engines() -> str:
    """The role in a namespace where the operator works, when these are listed."""
    name, namespace = f"name: {NAME}", f"namespace: {NAMESPACE}"
    role = _role("Role", rules=_lists()["ofNamespaces"])
    binding = _binding("Role")
    head, subjects, account = binding.partition("subjects:")
    texts = [text.replace(name, f"{name}-engines").replace(namespace, f"namespace: {MODELS}") for text in (role, head)]
    return "---\n".join((texts[0], texts[1] + subjects + account))


def _chart() -> str:
    """The lists of rules as named templates."""
    texts = [_template(f"rules.{name}", _rules(rules)) for name, rules in _lists().items()]
    texts += [_template("rules.view", _VIEW), _template("rules.edit", _EDIT)]
    head = (
        "{{/* Generated from operator/inference_fleet/controller/permissions.py by `make generate`; do not edit. */}}\n"
    )
    return head + "\n".join(texts)


def _lists() -> dict[str, Sequence[Permission]]:
    """Rules everywhere, or split where the operator works in listed namespaces only."""
    everywhere = permissions("cluster")
    return {
        "everywhere": everywhere,
        "ofTheCluster": [
            *(each for each in everywhere if not each.resource.namespaced and each.resource != NAMESPACES),
            *permissions("listed namespaces"),
        ],
        "ofNamespaces": [each for each in everywhere if each.resource.namespaced],
        "ofOwnNamespace": permissions("own namespace"),
    }


def _template(name: str, lines: Iterable[str]) -> str:
    return "\n".join((f'{{{{- define "inference-fleet.{name}" -}}}}', *lines, "{{- end }}")) + "\n"


def _rules(permissions: Iterable[Permission]) -> list[str]:
    return [
        line
        for each in permissions
        for line in (f"# {each.reason}", *_rule(each.resource.group, (each.path,), each.verbs))
    ]


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


# Whoever may view or edit Deployments may do so with our kinds; devices belong to the platform team.
_VIEW = _rule(GROUP, (INFERENCE_DEPLOYMENT_PLURAL, ACCELERATOR_CLASS_PLURAL), _READ)
_EDIT = (
    *_rule(GROUP, (INFERENCE_DEPLOYMENT_PLURAL,), _WRITE),
    *_rule(GROUP, (f"{INFERENCE_DEPLOYMENT_PLURAL}/scale",), ("get", "update", "patch")),
)
