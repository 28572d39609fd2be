"""Values that somebody sends on purpose or by mistake, for every leaf of the API; and where each leaf is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_fleet.api.crd import inference_deployment_crd

SPEC_SCHEMA = inference_deployment_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
TEXTS: tuple[Any, ...] = (
    "; rm -rf /",
    "$(reboot)",
    "$(HF_TOKEN)",
    "$HOME",
    "`id`",
    "a && b",
    "a | b",
    "a > /tmp/b",
    "two words",
    "two\nlines",
    "tab\tand \\ and 'quote' and \"quotes\"",
    "--trust-remote-code",
    "-h",
    "--",
    "a=b",
    "a,b",
    '{"model":"evil","trust_remote_code":true}',
    "[1]",
    "../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://169.254.169.254/latest",
    "größe-漢字",
    "\u202egpj.exe",
    "nul\x00byte",
    "x" * 5000,
    "",
    " ",
    "null",
    "true",
    "-1",
    "1e9",
    "*",
    "@file",
    "%s%n",
)
NUMBERS: tuple[Any, ...] = (
    -1,
    0,
    1,
    2,
    7,
    -(2**31),
    2**31,
    2**63,
    10**30,
    1.5,
    -0.0,
    float("inf"),
    float("nan"),
    "1",
    "1; rm -rf /",
    "--max-num-seqs=9",
    True,
    [1],
    {"a": 1},
    "",
)
SWITCHES: tuple[Any, ...] = (
    True,
    False,
    "true",
    "false",
    "yes",
    "no",
    "",
    0,
    1,
    -1,
    2,
    1.0,
    [],
    [True],
    {},
    "--no",
    "; reboot",
    "ja",
)
# Siblings without which nothing could be stored, by the end of the path of the object they stand in.
_COMPANY: Mapping[str, Mapping[str, Any]] = {
    "vllm": {"version": "0.33.0"},
    "speculative": {"method": "eagle3", "numSpeculativeTokens": 2, "model": {"huggingFace": {"repository": "a/draft"}}},
    "numSpeculativeTokensPerBatchSize[]": {"minSeqs": 1, "maxSeqs": 4, "numSpeculativeTokens": 1},
    "huggingFace": {"repository": "a/b"},
    "tokenSecretRef": {"name": "s", "key": "k"},
    "secretKeyRef": {"name": "s", "key": "k"},
    "persistentVolumeClaim": {"claimName": "weights"},
    "image": {"reference": "registry.example/model@sha256:" + "a" * 64},
    "s3": {"uri": "s3://bucket/model"},
    "credentialsSecretRef": {"name": "s"},
    "cache": {"persistentVolumeClaim": {"claimName": "cache"}},
    "quantization": {"method": "fp8_per_tensor"},
    "env[]": {"name": "TZ", "value": "UTC"},
    "imagePullSecrets[]": {"name": "s"},
    "topologySpread[]": {"topologyKey": "zone"},
    "sharedMemory": {"sizeLimit": "1Gi"},
}
_SOURCES = ("huggingFace", "persistentVolumeClaim", "image", "s3")


def leaves(part: str) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Path and schema of all under `part` of a spec that is no object; `[]` is an item, `{}` a value of a map."""
    yield from _leaves(SPEC_SCHEMA["properties"][part], (part,))


def hostile_values(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    """Some of them are right: then they must arrive."""
    kinds = {"integer": NUMBERS, "number": NUMBERS, "boolean": SWITCHES}
    return kinds.get(schema.get("type", ""), TEXTS)


def spec_with(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A small spec that says `value` at `path`, with the siblings that it needs."""
    spec: dict[str, Any] = {
        "model": {"huggingFace": {"repository": "a/b"}},
        "engine": {"vllm": {"version": "0.33.0"}},
        "variants": [{"name": "one", "acceleratorClassName": "h100"}],
    }
    spec[path[0]] = _laid(spec.get(path[0], {}), path[1:], value, at=path[0])
    return spec


def _leaves(schema: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    if "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from _leaves(inner, (*path, name))
    elif "additionalProperties" in schema:
        yield from _leaves(schema["additionalProperties"], (*path, "{}"))
        yield (*path, "key"), {"type": "string"}
    elif "items" in schema:
        yield from _leaves(schema["items"], (*path, "[]"))
    else:
        yield path, schema


def _laid(base: Any, path: tuple[str, ...], value: Any, *, at: str) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if step == "[]":
        return [_laid(dict(_COMPANY.get(f"{at}[]", {})), rest, value, at=f"{at}[]")]
    if step == "{}":
        return {"example.com/key": value}
    if step == "key" and not rest and at in ("labels", "annotations"):
        return {str(value): "x"}
    if step in _SOURCES and at == "model":
        base = {name: inner for name, inner in base.items() if name not in _SOURCES}
    company = {**_COMPANY.get(at, {}), **(base if isinstance(base, dict) else {})}
    if step.startswith("promptLookup"):
        company = {"method": "ngram", "numSpeculativeTokens": 2}
    if at == "secretKeyRef" or step == "secretKeyRef":
        company.pop("value", None)
    if at == "model":
        company = company or {"huggingFace": {"repository": "a/b"}}
        if step in _SOURCES:
            company = {name: inner for name, inner in company.items() if name not in _SOURCES}
    return {**company, step: _laid(company.get(step, {}), rest, value, at=step)}
