"""Whole InferenceDeployments drawn at random: what the schema of the definition takes, in every part at once."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from builders.drawn_specs import ACCELERATORS, drawn_spec
from builders.pod_strategies import drains, labels, names, pods, sources

CLASSES: dict[str, dict[str, Any]] = {
    name: {"metadata": {"name": name}, "spec": {"devices": {"extendedResource": "nvidia.com/gpu"}, **spec}}
    for name, spec in ACCELERATORS.items()
}
for _class in CLASSES.values():
    if _class["spec"]["devices"] is None:
        del _class["spec"]["devices"]
CLASSES["h100"]["spec"] |= {
    "nodeSelector": {"pool": "h100"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
# What engines say of their settings is held elsewhere; most of these are accepted, so that pods come of them.
_PLAIN = st.fixed_dictionaries(
    {"version": st.sampled_from(["0.32.0", "0.33.0"])},
    optional={
        "maxModelLen": st.sampled_from([512, 4096]),
        "image": st.sampled_from(["registry.example:5000/a/b:c", "vllm/vllm-openai@sha256:" + "0" * 64]),
        "batching": st.fixed_dictionaries({}, optional={"maxNumSeqs": st.integers(1, 64)}),
        "kvCache": st.fixed_dictionaries({}, optional={"gpuMemoryUtilizationPercent": st.integers(50, 95)}),
        "speculative": st.one_of(
            st.just({"method": "ngram", "numSpeculativeTokens": 3, "promptLookupMax": 4}),
            st.fixed_dictionaries({"method": st.just("eagle3"), "numSpeculativeTokens": st.just(2), "model": sources}),
        ),
        "enforceEager": st.booleans(),
        "extraArgs": st.sampled_from([["--seed=7"], ["--disable-log-stats"], ["--uvicorn-log-level=info"]]),
    },
)
_WILD = st.builds(
    lambda seed, version: dict(drawn_spec(seed, version=version).vllm),
    st.integers(0, 10**6),
    st.sampled_from(["0.32.0", "0.33.0"]),
)
_VLLM = st.one_of(_PLAIN, _PLAIN, _PLAIN, _WILD)
_LENGTHS = st.fixed_dictionaries({}, optional={"maxModelLen": st.sampled_from([256, 1024])})
_VARIANT = st.fixed_dictionaries(
    {"acceleratorClassName": st.sampled_from(["h100", "h100", "b200", "mi300x", "cpu"])},
    optional={
        "minReplicas": st.integers(0, 1),
        "engine": st.fixed_dictionaries({"vllm": _LENGTHS}),
        "pod": pods,
        "model": sources,
    },
)
_PEER = st.fixed_dictionaries(
    {"podSelector": st.fixed_dictionaries({"matchLabels": st.dictionaries(names, labels, max_size=2)})}
)
_ROUTING = st.fixed_dictionaries(
    {},
    optional={
        "service": st.fixed_dictionaries({"port": st.integers(1, 65535)}),
        "networkPolicy": st.fixed_dictionaries({"clients": st.lists(_PEER, max_size=2)}),
    },
)
_SERVED = st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,20}", fullmatch=True), min_size=1, max_size=3)


def _named(variants: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": f"v{number}", **variant} for number, variant in enumerate(variants)]


whole_specs = st.fixed_dictionaries(
    {
        "model": sources,
        "engine": st.fixed_dictionaries({"vllm": _VLLM}),
        "variants": st.lists(_VARIANT, min_size=1, max_size=3).map(_named),
        "scaling": st.fixed_dictionaries({"maxReplicas": st.integers(3, 9)}),
    },
    optional={"pod": pods, "drain": drains, "routing": _ROUTING, "servedModelNames": _SERVED},
)
"""Specs as users send them; the API server and the operator say which are accepted."""
