"""GitOps tools come to the right verdict about an InferenceDeployment: Argo CD's Lua and Flux' CEL, really run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import celpy
import lupa
import pytest
import yaml

from builders.baseline import recorded, releases

GITOPS = Path(__file__).resolve().parents[3] / "manifests/gitops"


def infd(*conditions: tuple[str, str, str], generation: int = 2, observed: int | None = 2, **metadata: Any) -> Any:
    obj: dict[str, Any] = {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": "m", "namespace": "chat", "generation": generation, **metadata},
        "spec": {},
    }
    if observed is not None:
        obj["status"] = {"observedGeneration": observed}
        if conditions:
            obj["status"]["conditions"] = [
                {"type": kind, "status": status, "reason": reason, "message": "so it is"}
                for kind, status, reason in conditions
            ]
    return obj


SERVING = infd(("Ready", "True", "Serving"), ("Accepted", "True", "Accepted"))
STARTING = infd(("Ready", "False", "Starting"), ("Reconciling", "True", "Starting"))
REFUSED = infd(("Ready", "False", "SpecNotAccepted"), ("Stalled", "True", "SpecNotAccepted"))
NOT_SEEN = infd(observed=None)
OLD_VIEW = infd(("Ready", "True", "Serving"), generation=3)
NEW_AND_EMPTY = infd(observed=-1)
SUSPENDED = infd(("Ready", "True", "Serving"), ("Suspended", "True", "Suspended"))
DELETED = infd(("Ready", "True", "Serving"), deletionTimestamp="2026-01-01T00:00:00Z")

CASES = [
    # object, Argo CD, Flux
    (SERVING, "Healthy", "current"),
    (STARTING, "Progressing", "inProgress"),
    (REFUSED, "Degraded", "failed"),
    (NOT_SEEN, "Progressing", "inProgress"),  # without this rule: healthy for merely existing
    (NEW_AND_EMPTY, "Progressing", "inProgress"),
    (OLD_VIEW, "Progressing", "inProgress"),  # Ready speaks of the former spec
    (SUSPENDED, "Suspended", "current"),
]


def lua_table(lua: lupa.LuaRuntime, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: lua_table(lua, item) for key, item in value.items()})
    if isinstance(value, list):
        return lua.table_from([lua_table(lua, item) for item in value])
    return value


def argo_verdict(obj: Any) -> tuple[str, str]:
    lua = lupa.LuaRuntime(unpack_returned_tuples=True)
    lua.globals()["obj"] = lua_table(lua, obj)
    verdict = lua.execute((GITOPS / "argocd/health.lua").read_text(encoding="utf-8"))
    return verdict["status"], verdict["message"]


def flux_verdict(obj: Any) -> str:
    """Flux asks failed, then current; what is neither is in progress."""
    exprs = yaml.safe_load((GITOPS / "flux/health-check-exprs.yaml").read_text(encoding="utf-8"))["healthCheckExprs"][0]
    environment = celpy.Environment()
    activation = {key: celpy.json_to_cel(obj.get(key, {})) for key in ("metadata", "spec", "status")}
    truth = {
        name: bool(environment.program(environment.compile(exprs[name])).evaluate(activation))
        for name in ("failed", "current", "inProgress")
    }
    if truth["failed"]:
        return "failed"
    if truth["current"]:
        return "current"
    assert truth["inProgress"], "an object must be in one of the three states"
    return "inProgress"


@pytest.mark.parametrize(("obj", "argo", "_flux"), CASES)
def test_argo_cd_health(obj: Any, argo: str, _flux: str) -> None:
    assert argo_verdict(obj)[0] == argo


def test_argo_cd_says_the_reason_and_message() -> None:
    assert argo_verdict(REFUSED) == ("Degraded", "SpecNotAccepted: so it is")


def test_argo_cd_waits_for_deletion() -> None:
    assert argo_verdict(DELETED)[0] == "Progressing"


@pytest.mark.parametrize(("obj", "_argo", "flux"), CASES)
def test_flux_health(obj: Any, _argo: str, flux: str) -> None:
    assert flux_verdict(obj) == flux


RECORDED = [obj for release in releases() for obj in recorded(release) if obj["kind"] == "InferenceDeployment"]


@pytest.mark.parametrize("obj", RECORDED, ids=lambda obj: obj["metadata"]["name"])
def test_what_a_real_operator_said_of_what_serves_is_healthy_to_both(obj: Any) -> None:
    assert argo_verdict(obj)[0] == "Healthy"
    assert flux_verdict(obj) == "current"


def test_argo_cd_actions_suspend_and_resume() -> None:
    actions = yaml.safe_load((GITOPS / "argocd/actions.lua.yaml").read_text(encoding="utf-8"))
    lua = lupa.LuaRuntime()
    lua.globals()["obj"] = lua_table(lua, infd())
    by_name = {item["name"]: item["action.lua"] for item in actions["definitions"]}
    lua.execute(by_name["suspend"])
    assert lua.globals()["obj"]["spec"]["suspend"] is True
    assert lua.execute(actions["discovery.lua"])["suspend"]["disabled"] is True
    lua.execute(by_name["resume"])
    assert lua.globals()["obj"]["spec"]["suspend"] is None
