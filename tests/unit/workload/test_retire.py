"""Who goes first: whoever is missed least."""

from __future__ import annotations

from typing import Any

from inference_fleet.workload.retire import Retiree, retirement_order


def pod(name: str, **seen: Any) -> Retiree:
    defaults: dict[str, Any] = {"scheduled": True, "ready": True, "load": 0.0, "created": 0.0}
    return Retiree(name=name, **(defaults | seen))


def test_pending_goes_before_not_ready_before_the_least_loaded() -> None:
    pods = [
        pod("busy", load=9.0),
        pod("idle"),
        pod("starting", ready=False),
        pod("pending", scheduled=False, ready=False),
    ]
    assert retirement_order(pods) == ("pending", "starting", "idle", "busy")


def test_among_equals_the_youngest_goes() -> None:
    assert retirement_order([pod("old", created=1.0), pod("young", created=2.0)]) == ("young", "old")


def test_a_mark_does_not_wander_with_the_load() -> None:
    assert retirement_order([pod("idle"), pod("marked", load=5.0, marked=True)])[0] == "marked"


def test_a_mark_does_not_protect_a_pod_that_does_not_serve() -> None:
    assert retirement_order([pod("marked", marked=True), pod("starting", ready=False)])[0] == "starting"


def test_the_order_does_not_depend_on_the_order_of_the_list() -> None:
    pods = [pod(name) for name in "cab"]
    assert retirement_order(pods) == retirement_order(pods[::-1]) == ("a", "b", "c")
