"""Strategies for everything a user may say about pods and weights, in the API's own vocabulary."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter

from inference_fleet.api.checkpoint import Name, RelativePath, SecretKey
from inference_fleet.api.pod_settings import LABEL_VALUE_PATTERN, MetadataKey, QuantityText


def words(kind: Any) -> st.SearchStrategy[str]:
    """What a bounded string type of the API takes."""
    schema = TypeAdapter(kind).json_schema()
    found = st.from_regex(schema["pattern"], fullmatch=True)
    return found.filter(lambda text: schema.get("minLength", 0) <= len(text) <= schema["maxLength"])


names = words(Name)
keys = words(MetadataKey)
paths = words(RelativePath)
labels = st.from_regex(LABEL_VALUE_PATTERN, fullmatch=True).filter(lambda text: len(text) <= 63)
texts = st.text(alphabet=st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), max_size=40)
quantities = st.one_of(st.sampled_from(["1", "500m", "4Gi", "64Gi", "1e3"]), words(QuantityText))
amounts = st.fixed_dictionaries({}, optional={"cpu": quantities, "memory": quantities, "ephemeralStorage": quantities})
secrets = st.fixed_dictionaries({"name": names, "key": words(SecretKey)})
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
        "labels": st.dictionaries(keys, labels, max_size=3),
        "annotations": st.dictionaries(keys, texts, max_size=3),
        "priorityClassName": names,
        "topologySpread": st.lists(
            st.fixed_dictionaries({"topologyKey": keys}, optional={"maxSkew": st.integers(1, 100)}),
            max_size=2,
            unique_by=lambda spread: spread["topologyKey"],
        ),
        "sharedMemory": st.fixed_dictionaries({"sizeLimit": quantities}),
    },
)
sources = st.one_of(
    st.fixed_dictionaries(
        {"huggingFace": st.fixed_dictionaries({"repository": st.just("a/b")}, optional={"tokenSecretRef": secrets})},
        optional={
            "cache": st.fixed_dictionaries({"persistentVolumeClaim": st.fixed_dictionaries({"claimName": names})})
        },
    ),
    st.fixed_dictionaries(
        {"persistentVolumeClaim": st.fixed_dictionaries({"claimName": names}, optional={"path": paths})}
    ),
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

# Parts of an InferenceDeployment's spec; some break a rule between fields: let parsing say which are accepted.
specs = st.fixed_dictionaries({"pod": pods, "model": sources, "engine": engines, "drain": drains})
