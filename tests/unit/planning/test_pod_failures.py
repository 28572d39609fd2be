"""Why a pod does not start: the kubelet's states and words, as a reason, a fact and the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference_fleet.api.conditions import Reason
from inference_fleet.planning.pod_failures import PodFailure, failure_of, loads

BUDGET = 1800.0
RECORDED = Path(__file__).parents[2] / "data" / "engine-failures"
BEGAN = "2026-01-01T00:00:00Z"


def status(**container: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"name": "engine", **container}]}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return status(state={"waiting": {"reason": reason, "message": message}})


def ended(restarts: int = 1, state: str = "CrashLoopBackOff", **terminated: Any) -> dict[str, Any]:
    now = {"waiting": {"reason": state}} if state else {"running": {"startedAt": BEGAN}}
    return status(restartCount=restarts, state=now, lastState={"terminated": {"exitCode": 1, **terminated}})


def failure(found: dict[str, Any]) -> PodFailure | None:
    return failure_of(found, start_budget_seconds=BUDGET)


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "a/b:c": rpc error: not found'),
            "ImageNotAvailable",
            "tag",
        ),
        (waiting("ErrImagePull", "401 unauthorized: authentication required"), "ImageNotAvailable", "imagePullSecrets"),
        (waiting("ErrImagePull", "dial tcp: lookup r.example: no such host"), "ImageNotAvailable", "reached"),
        (waiting("ErrImagePull", "toomanyrequests: You have reached your limit"), "ImageNotAvailable", "too many"),
        (waiting("ErrImagePull", "write /var/lib: no space left on device"), "NoSpace", "no room"),
        (waiting("InvalidImageName"), "ImageNotAvailable", "cannot be pulled"),
        (
            waiting("CreateContainerConfigError", 'secret "hf-token" not found'),
            "ConfigurationMissing",
            "secret hf-token is not there",
        ),
        (
            waiting("CreateContainerConfigError", "couldn't find key token in Secret chat/hf-token"),
            "ConfigurationMissing",
            "Secret chat/hf-token has no key token",
        ),
        (
            waiting("RunContainerError", "nvidia-container-cli: initialization error: driver not loaded"),
            "NodeFault",
            "driver failed",
        ),
        (waiting("RunContainerError", "something else"), "NodeFault", "container runtime"),
        (ended(reason="OOMKilled", exitCode=137), "OutOfHostMemory", "memory limit"),
        (ended(exitCode=2), "EngineCrashed", "status 2"),
        (ended(exitCode=0, message="token=secret"), "EngineCrashed", "again and again"),
        # It ended when it was told to: an error of its life is no cause of that.
        (ended(exitCode=0, message="OSError: [Errno 28] No space left on device"), "EngineCrashed", "again and again"),
        (ended(startedAt=BEGAN, finishedAt="2026-01-01T00:30:01Z", exitCode=143), "StartTooSlow", "budget of 30 min"),
        # Its life is counted, not the time of day at which it ended.
        (ended(startedAt=BEGAN, finishedAt="2026-01-01T00:10:00Z", exitCode=143), "EngineCrashed", "status 143"),
    ],
)
def test_a_state_of_the_kubelet_is_told_as_a_reason_with_words(found: dict[str, Any], reason: str, words: str) -> None:
    told = failure(found)

    assert told is not None
    assert told.reason == reason
    assert words in told.words
    assert "secret" not in told.words.replace("secret hf-token", "")


def test_the_end_of_the_log_says_more_than_that_it_ended() -> None:
    message = (RECORDED / "hub-gated.txt").read_text(encoding="utf-8")
    told = failure(ended(message=message))

    assert told is not None
    assert (told.reason, told.words[:18]) == (Reason.MODEL_GATED, "acme/llama-private")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("unknown-flag", Reason.UNSUPPORTED_FLAG),
        ("cut-weights", Reason.MODEL_DAMAGED),
        # Settings too large for the device stay so; for what holds it now, see below.
        ("cache-too-small", Reason.OUT_OF_DEVICE_MEMORY),
    ],
)
def test_what_no_restart_heals_is_told_while_it_tries_again(name: str, reason: Reason) -> None:
    told = failure(ended(state="", message=(RECORDED / f"{name}.txt").read_text(encoding="utf-8")))
    assert told is not None
    assert told.reason == reason


@pytest.mark.parametrize(
    "message",
    [
        # The hub may answer this time, and the pod that leaves may have freed the device.
        (RECORDED / "hub-down.txt").read_text(encoding="utf-8"),
        "Free memory on device cuda:0 (1.87/79.19 GiB) on startup is less than desired GPU memory utilization (0.92,"
        " 72.85 GiB)",
        "torch.OutOfMemoryError: CUDA out of memory.",
    ],
)
def test_what_a_restart_may_heal_is_told_when_it_has_not(message: str) -> None:
    assert failure(ended(state="", message=message)) is None
    assert failure(ended(restarts=3, state="", message=message)) is not None


def test_a_slow_start_is_no_failure() -> None:
    """However long it runs: only the kubelet ends it, after a budget that grows with the weights."""
    running = status(restartCount=0, started=False, state={"running": {"startedAt": BEGAN}})

    assert failure(running) is None
    assert loads(running)
    assert not loads(waiting("ContainerCreating"))
    assert failure(ended(state="", exitCode=143, startedAt=BEGAN, finishedAt="2026-01-01T00:30:01Z")) is None


@pytest.mark.parametrize("found", [{}, {"containerStatuses": []}, {"containerStatuses": [{"name": "proxy"}]}, status()])
def test_a_pod_that_says_nothing_is_on_its_way(found: dict[str, Any]) -> None:
    assert failure(found) is None
    assert not loads(found)


@pytest.mark.parametrize("message", ["\x00" * 50, "couldn't find key in Secret", 'secret "' + "a" * 5000, "%s {name}"])
def test_odd_words_of_a_kubelet_are_not_repeated(message: str) -> None:
    told = failure(waiting("CreateContainerConfigError", message))

    assert told == PodFailure(
        Reason.CONFIGURATION_MISSING, "a Secret, ConfigMap or volume that the pod needs is missing"
    )
