"""The operator's rights: one table, nothing beyond it, and the manifests say the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from inference_fleet.adapters import resources
from inference_fleet.adapters.ports import Resource
from inference_fleet.controller.permissions import PERMISSIONS, permissions

BASE = Path(__file__).resolve().parents[3] / "manifests/base"


def roles(file: str) -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((BASE / file).read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


def rules(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    return {
        (group, path, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for path in rule["resources"]
        for verb in rule["verbs"]
    }


def test_every_resource_that_the_operator_knows_has_a_permission_with_a_reason() -> None:
    known = {value for value in vars(resources).values() if isinstance(value, Resource)}
    assert {permission.resource for permission in PERMISSIONS} == known
    assert all(permission.reason for permission in PERMISSIONS)


def test_there_is_no_wildcard_and_no_secret() -> None:
    words = {word for p in PERMISSIONS for word in (p.resource.group, p.path, *p.verbs)}
    assert "*" not in words
    assert "secrets" not in words


def test_no_permission_stands_twice() -> None:
    assert len({(p.resource, p.subresource, p.reach) for p in PERMISSIONS}) == len(PERMISSIONS)


def test_what_is_followed_by_list_and_watch_may_be_listed_and_watched() -> None:
    followed = {*resources.CHILDREN, resources.INFERENCE_DEPLOYMENTS, resources.ACCELERATOR_CLASSES}
    verbs = {p.resource: set(p.verbs) for p in PERMISSIONS if not p.subresource}
    assert all(verbs[resource] >= {"list", "watch"} for resource in followed)


def test_the_roles_are_the_table() -> None:
    found = roles("rbac.yaml")
    for kind, reach in (("ClusterRole", permissions("cluster")), ("Role", permissions("own namespace"))):
        assert rules(found[kind]) == {(p.resource.group, p.path, verb) for p in reach for verb in p.verbs}
        assert found[f"{kind}Binding"]["roleRef"]["kind"] == kind


def test_users_roles_are_about_our_kinds_alone() -> None:
    for path in (BASE / "view-role.yaml", BASE.parent / "components/edit-role/edit-role.yaml"):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {group for group, _, _ in rules(document)} == {"inferencefleet.io"}


def test_nobody_is_given_the_right_to_write_by_the_base_alone() -> None:
    role = yaml.safe_load((BASE / "view-role.yaml").read_text(encoding="utf-8"))
    assert {verb for _, _, verb in rules(role)} == {"get", "list", "watch"}
    assert list(role["metadata"]["labels"]) == ["rbac.authorization.k8s.io/aggregate-to-view"]
