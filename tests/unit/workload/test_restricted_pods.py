"""Whatever an accepted intent says, its pod passes the restricted pod security standard and stays an argument list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from builders.intents import OWNER, accepted_intent, make_accelerator, make_intent, make_plan
from builders.pod_security import violations
from builders.pod_strategies import platforms, specs, texts
from inference_fleet.workload.pod_template import pod_template


@given(said=specs, platform=platforms, devices=st.integers(0, 8), args=st.lists(texts, max_size=4))
def test_any_accepted_intent_becomes_a_restricted_pod(
    said: dict[str, Any], platform: dict[str, Any], devices: int, args: list[str]
) -> None:
    intent = accepted_intent(**said)
    assume(intent is not None)
    assert intent is not None
    spec = pod_template(
        OWNER,
        intent=intent,
        engine=make_plan(args=tuple(args), devices_per_replica=devices),
        accelerator=make_accelerator(**platform),
        revision="abcdef0123",
    )["spec"]
    assert violations(spec) == []
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert len(container["args"]) == len(args)
    mounted = [mount["name"] for mount in container["volumeMounts"]]
    assert sorted(mounted) == sorted(volume["name"] for volume in spec["volumes"])
    assert len({mount["mountPath"] for mount in container["volumeMounts"]}) == len(mounted)
    hook = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert hook + intent.drain.timeout_seconds < spec["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("hostNetwork",), True),
        (("volumes",), [{"name": "host", "hostPath": {"path": "/"}}]),
        (("containers", 0, "securityContext", "capabilities"), {}),
        (("containers", 0, "securityContext", "privileged"), True),
        (("containers", 0, "securityContext", "runAsNonRoot"), False),
        (("securityContext", "seccompProfile"), None),
        (("securityContext", "runAsUser"), 0),
    ],
)
def test_the_check_itself_notices_a_pod_that_is_not_restricted(path: tuple[str | int, ...], value: object) -> None:
    spec = pod_template(
        OWNER, intent=make_intent(), engine=make_plan(), accelerator=make_accelerator(), revision="abcdef0123"
    )["spec"]
    place: Any = spec
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert len(violations(spec)) == 1
