"""Whatever an accepted intent says, its pod passes the restricted pod security standard and stays an argument list."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.intents import OWNER, make_accelerator, make_intent, make_plan
from builders.pod_security import violations
from inference_fleet.workload.pod_template import pod_template

names = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?\Z")
texts = st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), max_size=40)
quantities = st.sampled_from(["1", "500m", "4Gi", "64Gi", "1e3"])
amounts = st.fixed_dictionaries({}, optional={"cpu": quantities, "memory": quantities, "ephemeralStorage": quantities})
secrets = st.fixed_dictionaries({"name": names, "key": names})
variables = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from(["TZ", "HF_ENDPOINT", "NCCL_DEBUG"]), "value": texts}),
    st.fixed_dictionaries({"name": st.sampled_from(["VLLM_API_KEY", "AWS_ENDPOINT_URL"]), "secretKeyRef": secrets}),
)
pods = st.fixed_dictionaries(
    {},
    optional={
        "resources": st.fixed_dictionaries({}, optional={"requests": amounts, "limits": amounts}),
        "imagePullSecrets": st.lists(
            st.fixed_dictionaries({"name": names}), max_size=2, unique_by=lambda secret: secret["name"]
        ),
        "env": st.lists(variables, max_size=4, unique_by=lambda variable: variable["name"]),
        "labels": st.dictionaries(names, names, max_size=3),
        "annotations": st.dictionaries(names, texts, max_size=3),
        "priorityClassName": names,
        "topologySpread": st.lists(
            st.fixed_dictionaries({"topologyKey": names}, optional={"maxSkew": st.integers(1, 100)}),
            max_size=2,
            unique_by=lambda spread: spread["topologyKey"],
        ),
        "sharedMemory": st.fixed_dictionaries({"sizeLimit": quantities}),
    },
)
sources = st.one_of(
    st.fixed_dictionaries(
        {"huggingFace": st.fixed_dictionaries({"repository": names}, optional={"tokenSecretRef": secrets})},
        optional={
            "cache": st.fixed_dictionaries({"persistentVolumeClaim": st.fixed_dictionaries({"claimName": names})})
        },
    ),
    st.fixed_dictionaries({"persistentVolumeClaim": st.fixed_dictionaries({"claimName": names})}),
    st.just({"image": {"reference": "registry.example/model@sha256:" + "a" * 64}}),
    st.fixed_dictionaries(
        {
            "s3": st.fixed_dictionaries(
                {"uri": st.just("s3://bucket/model")},
                optional={"credentialsSecretRef": st.fixed_dictionaries({"name": names})},
            )
        }
    ),
)
engines = st.one_of(
    st.none(),
    st.fixed_dictionaries({"method": st.just("eagle3"), "model": sources}),
    st.just({"method": "ngram"}),
).map(
    lambda speculative: {
        "vllm": {"version": "0.33.0"} | ({"speculative": speculative} if speculative is not None else {})
    }
)
drains = st.fixed_dictionaries({"endpointDelaySeconds": st.integers(0, 300), "timeoutSeconds": st.integers(1, 7200)})
platforms = st.sampled_from(
    [
        {},
        {"platform": "CPU", "architecture": "x86-64", "devices": None},
        {"platform": "ROCm", "architecture": "gfx942", "devices": {"extendedResource": "amd.com/gpu"}},
        {"nodeSelector": {"pool": "a"}, "tolerations": [{"operator": "Exists"}]},
    ]
)


@given(
    pod=pods,
    model=sources,
    engine=engines,
    drain=drains,
    platform=platforms,
    devices=st.integers(0, 8),
    args=st.lists(texts, max_size=4),
)
def test_any_accepted_intent_becomes_a_restricted_pod(
    pod: dict[str, Any],
    model: dict[str, Any],
    engine: dict[str, Any],
    drain: dict[str, Any],
    platform: dict[str, Any],
    devices: int,
    args: list[str],
) -> None:
    spec = pod_template(
        OWNER,
        intent=make_intent(pod=pod, model=model, engine=engine, drain=drain),
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
    assert hook + drain["timeoutSeconds"] < spec["terminationGracePeriodSeconds"]


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
