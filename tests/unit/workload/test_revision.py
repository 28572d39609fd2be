"""The revision is the user's intent and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from builders.intents import OWNER, make_accelerator, make_intent, make_plan
from inference_fleet.workload.replica_set import render_hash, rendered_of, replica_set
from inference_fleet.workload.revision import revision_of


def revision(**spec: Any) -> str:
    return revision_of(make_intent(**spec), namespace="chat", name="llama-8b")


def test_a_revision_is_ten_characters_that_fit_a_label_and_a_name() -> None:
    assert re.fullmatch("[a-z0-9]{10}", revision())


def test_the_same_intent_has_the_same_revision() -> None:
    assert revision(pod={"labels": {"a": "1", "b": "2"}}) == revision(pod={"labels": {"b": "2", "a": "1"}})


@pytest.mark.parametrize(
    "spec",
    [
        {"drain": {"timeoutSeconds": 601}},
        {"engine": {"vllm": {"version": "0.32.0"}}},
        {"engine": {"vllm": {"maxModelLen": 4096}}},
        {"model": {"huggingFace": {"repository": "meta-llama/Llama-3.1-70B-Instruct"}}},
        {"pod": {"resources": {"requests": {"cpu": "4"}}}},
        {"servedModelNames": ["other"]},
        {"variants": [{"name": "h100", "acceleratorClassName": "another-class"}]},
        {"variants": [{"name": "other", "acceleratorClassName": "nvidia-h100-80gb"}]},
    ],
)
def test_every_part_of_the_intent_counts(spec: dict[str, Any]) -> None:
    assert revision(**spec) != revision()


@pytest.mark.parametrize(
    "spec",
    [
        {"scaling": {"minReplicas": 2, "maxReplicas": 9}},
        {"replicas": 7},
        {"rollout": {"paused": True}},
        {"objectives": [{"name": "a", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1, "targetPercent": "9"}]},
        {"routing": {"service": {"port": 80}}},
        {"variants": [{"name": "h100", "acceleratorClassName": "nvidia-h100-80gb", "maxReplicas": 3}]},
        {"engine": {"vllm": {"maxModelLen": None}}},
        {"pod": {}},
    ],
)
def test_what_no_pod_sees_does_not_count(spec: dict[str, Any]) -> None:
    assert revision(**spec) == revision()


def test_name_and_namespace_count() -> None:
    intent = make_intent()
    found = {revision_of(intent, namespace=namespace, name=name) for namespace in "ab" for name in "ab"}
    assert len(found) == 4


def test_another_class_or_engine_data_change_the_rendering_and_not_the_revision() -> None:
    intent = make_intent()

    def rendered(*, plan: dict[str, Any] | None = None, accelerator: dict[str, Any] | None = None) -> str | None:
        return rendered_of(
            replica_set(
                OWNER,
                intent=intent,
                engine=make_plan(**(plan or {})),
                accelerator=make_accelerator(**(accelerator or {})),
                revision=revision(),
                replicas=1,
            )
        )

    assert rendered() == rendered(accelerator={"cost": {"perDeviceHour": "9.9"}})
    assert rendered() != rendered(accelerator={"nodeSelector": {"pool": "new"}})
    assert rendered() != rendered(plan={"args": ("--corrected",)})


def test_a_rendering_is_told_apart_by_what_it_says_and_not_by_the_name_of_its_revision() -> None:
    def template(revision: str, image: str) -> dict[str, str]:
        return {"labels": f"revision={revision}", "image": image}

    one = render_hash(template("aaaa", "vllm:1"), revision="aaaa")
    assert one == render_hash(template("bbbb", "vllm:1"), revision="bbbb")
    assert one != render_hash(template("aaaa", "vllm:2"), revision="aaaa")
