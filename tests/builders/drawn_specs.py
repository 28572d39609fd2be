"""Specs drawn at random from the schema of the CustomResourceDefinition: what users may send, plausible and hostile.

Every draw is one that the API server would store (its rules between fields apart), from a seed of its own: the same
seed is the same spec on every machine. What a free word means to vLLM comes from the data of the release.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from builders.checkpoint_configs import CHECKPOINTS, DRAFTS, checkpoint_facts
from inference_fleet.api.crd import inference_deployment_crd
from inference_fleet.api.intent import overlay, plain
from inference_fleet.api.vllm_engine import DRAFTED_METHODS, LOOKUP_METHODS
from inference_fleet.engine.versions import EngineVersion, Flag, engine_version

_SPEC = inference_deployment_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
_VLLM = _SPEC["properties"]["engine"]["properties"]["vllm"]
# How often an optional field is said, and how often what is said is not what people usually say.
_SAID = 0.22
_STRANGE = 0.04
_STRANGE_WORDS = (
    "none",
    "auto",
    "null",
    "0",
    "true",
    "int2",
    "gguf",
    "bitsandbytes",
    "FP8",
    "fp-8",
    "x" * 64,
    "a.b-c_d",
)
_DTYPES = ("auto", "half", "float16", "bfloat16", "float", "float32", "int8")
# What people usually say, by the end of the field's path.
_USUAL: Mapping[str, Sequence[Any]] = {
    "maxModelLen": (512, 1024, 2048, 4096, 8192, 16384, 32768),
    "maxNumSeqs": (1, 8, 64, 128, 256, 512, 1024),
    "maxNumActiveSeqs": (1, 8, 32, 64, 128),
    "maxNumBatchedTokens": (512, 2048, 4096, 8192, 16384, 32768),
    "longPrefillTokenThreshold": (0, 256, 1024, 2048, 8192),
    "tensorParallelSize": (1, 2, 2, 4, 4, 8, 3, 6, 16),
    "pipelineParallelSize": (1, 1, 2, 2, 4, 8),
    "dataParallelSize": (1, 1, 2, 4),
    "blockSize": (16, 32, 64, 128),
    "gpuMemoryUtilizationPercent": (50, 80, 90, 92, 95),
    "numSpeculativeTokens": (1, 2, 3, 4, 5, 8),
    "promptLookupMax": (2, 4, 8),
    "promptLookupMin": (1, 2, 3),
    "draftTensorParallelSize": (1, 1, 2, 4),
    "schedulingPolicy": ("fcfs", "priority"),
    "dtype": _DTYPES[:-1],
    "minSeqs": (1, 4, 16),
    "maxSeqs": (4, 16, 64, 256),
}
# The platform only: what an accelerator can is drawn too.
ACCELERATORS: Mapping[str, Mapping[str, Any]] = {
    "cpu": {"platform": "CPU", "architecture": "x86_64", "devices": None, "deviceMemory": "16Gi", "devicesPerNode": 8},
    "h100": {"platform": "CUDA", "architecture": "9.0", "deviceMemory": "81079Mi", "devicesPerNode": 8},
    "b200": {"platform": "CUDA", "architecture": "10.0", "deviceMemory": "183359Mi", "devicesPerNode": 8},
    "t4": {"platform": "CUDA", "architecture": "7.5", "deviceMemory": "15360Mi", "devicesPerNode": 4},
    "mi300x": {"platform": "ROCm", "architecture": "gfx942", "deviceMemory": "196592Mi", "devicesPerNode": 8},
    "max1550": {"platform": "XPU", "architecture": "xe-hpc", "deviceMemory": "64Gi", "devicesPerNode": 4},
}
_ACCELERATOR_WEIGHTS = (10, 3, 1, 1, 1, 1)


_MISTAKEN = 0.4
_HUB: Mapping[str, Any] = {
    "huggingFace": {"repository": "org/head"},
    "shape": {"architecture": "LlamaForCausalLMEagle3", "numAttentionHeads": 8, "vocabSize": 32000},
}


def _ranges(*rows: tuple[int, int, int]) -> dict[str, Any]:
    depths = [{"minSeqs": low, "maxSeqs": high, "numSpeculativeTokens": depth} for low, high, depth in rows]
    return {"method": "ngram", "numSpeculativeTokens": 4, "numSpeculativeTokensPerBatchSize": depths}


# The weights fit, the cache of one such sequence does not.
TOO_LONG: Mapping[str, Any] = {"maxModelLen": 131072, "quantization": {"method": "fp8_per_tensor"}}
NOT_LATENT: Mapping[str, Any] = {"kvCache": {"kvCacheDtype": "nvfp4"}}
# What chance alone seldom puts together; each lies over a drawn spec, so that the rest differs every time.
MISTAKES: Sequence[Mapping[str, Any]] = (
    {"batching": {"maxNumActiveSeqs": 5000}},
    {"batching": {"maxNumSeqs": 512, "maxNumBatchedTokens": 256}},
    {"maxModelLen": 2048, "batching": {"longPrefillTokenThreshold": 2049}},
    {"batching": {"schedulingPolicy": "lottery"}},
    {"kvCache": {"kvCacheDtype": "fp4"}},
    NOT_LATENT,
    {"kvCache": {"kvCacheDtype": "bfloat16"}, "dtype": "float16"},
    {"dtype": "int4"},
    {"dtype": "float32", "quantization": {"method": "mxfp8"}},
    {"quantization": {"method": "fp8_per_tensor"}},
    {"quantization": {"method": "nvfp4_per_token"}},
    {"parallelism": {"tensorParallelSize": 8, "pipelineParallelSize": 2}},
    {"parallelism": {"tensorParallelSize": 7}},
    {"parallelism": {"tensorParallelSize": 3}},
    {"parallelism": {"enableExpertParallel": True, "dataParallelSize": 2}},
    {"speculative": {"method": "eagle3", "numSpeculativeTokens": 3, "model": {"s3": {"uri": "s3://bucket/draft"}}}},
    {"speculative": {"method": "eagle", "numSpeculativeTokens": 3, "model": _HUB}},
    {"speculative": {"method": "eagle3", "numSpeculativeTokens": 3}},
    {"speculative": {"method": "ngram", "numSpeculativeTokens": 3, "model": _HUB}},
    {"speculative": {"method": "dspark", "numSpeculativeTokens": 3, "model": _HUB}},
    {"speculative": {"method": "mtp", "numSpeculativeTokens": 2}},
    {"speculative": _ranges((2, 8, 2))},
    {"speculative": _ranges((1, 8, 5))},
    {"speculative": _ranges((1, 8, 2), (4, 16, 1))},
    {"speculative": _ranges((1, 8, 2), (16, 9, 1))},
    {"speculative": {"method": "mtp", "numSpeculativeTokens": 2, "promptLookupMax": 4}},
    {"speculative": {"method": "ngram", "numSpeculativeTokens": 3}, "batching": {"asyncScheduling": True}},
    {"speculative": {"method": "ngram", "numSpeculativeTokens": 3, "promptLookupMin": 9, "promptLookupMax": 2}},
    {"extraArgs": ["--seed=1", "--seed=2"]},
    {"extraArgs": ["--stream-interval=0"]},
    {"speculative": {"method": "suffix"}},
    {"trustRemoteCode": True},
    TOO_LONG,
)
_NEEDED: Mapping[str, Mapping[str, Any]] = {
    "quantization": {"quantization": {"method": "online"}},
    "speculative": {"speculative": {"method": "ngram", "numSpeculativeTokens": 3}},
    "kvCache.enablePrefixCaching": {"kvCache": {"enablePrefixCaching": True}},
    "parallelism.enableExpertParallel": {"parallelism": {"tensorParallelSize": 2, "enableExpertParallel": True}},
}


@dataclass(frozen=True)
class DrawnSpec:
    """`vllm`: engine.vllm as a user would send it. repository: a key of CHECKPOINTS. accelerator: of ACCELERATORS."""

    vllm: Mapping[str, Any]
    repository: str
    accelerator: str


def drawn_spec(seed: int, *, version: str) -> DrawnSpec:
    """The spec of this seed."""
    random = Random(seed)
    release = engine_version(version)
    assert isinstance(release, EngineVersion)
    vllm = _Draw(random, release).object(_VLLM, "")
    names = list(CHECKPOINTS)
    repository = random.choices(names, [6, 3, 3, 3] + [1] * (len(names) - 4))[0]
    accelerator = random.choices(list(ACCELERATORS), _ACCELERATOR_WEIGHTS)[0]
    if random.random() < _MISTAKEN:
        mistake = random.choice(MISTAKES)
        vllm = overlay(vllm, mistake)
        if mistake is TOO_LONG:
            repository, accelerator = "org/large", "h100"
        if mistake is NOT_LATENT:
            repository = "org/latent"
    allowed = [flag for flag in release.flags.values() if flag.mark == "allowed"]
    if seed < len(allowed):
        repository, accelerator = "org/mixture", "h100"
        # The first draws say each allowed flag once, with a value that is its own.
        needed = allowed[seed].needs or ""
        beside = [f"{needed}=http://traces:4317" if "endpoint" in needed else needed] if needed[:2] == "--" else []
        if needed == "--enable-eplb":
            vllm = {**_NEEDED["parallelism.enableExpertParallel"]}
        else:
            vllm = {**_NEEDED.get(needed, {})}
        vllm["extraArgs"] = [argument(allowed[seed], random), *beside]
    return DrawnSpec(vllm={**vllm, "version": version}, repository=repository, accelerator=accelerator)


class _Draw:
    def __init__(self, random: Random, release: EngineVersion) -> None:
        self._random = random
        self._release = release
        self._leaves: Mapping[str, Callable[[], Any]] = {
            "quantization.method": lambda: self._word((*release.quantization, *release.removed_quantization)),
            "kvCache.kvCacheDtype": lambda: self._word(("auto", "fp8", "bfloat16", *release.kv_cache_types)),
            "speculative.method": lambda: self._word(
                ("ngram", "ngram", "draft_model", "eagle3", "mtp", *release.speculative_methods)
            ),
            "speculative.model": self._draft,
            "version": lambda: release.version,
            "image": lambda: "registry.example.com/vllm:1",
            "trustRemoteCode": lambda: random.random() < 0.1,
            "extraArgs": self._extra_arguments,
        }

    def _speculative(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Mostly what the method asks for, so that a spec breaks one rule rather than five."""
        found = self.object(schema, "speculative")
        if self._random.random() < 0.15:
            return found
        found.setdefault("numSpeculativeTokens", self._random.choice((2, 3, 4)))
        self._in_order(found.get("numSpeculativeTokensPerBatchSize", ()), deepest=found["numSpeculativeTokens"])
        if found["method"] in DRAFTED_METHODS:
            found.setdefault("model", self._draft())
        else:
            found.pop("model", None)
        if found["method"] not in LOOKUP_METHODS:
            found.pop("promptLookupMin", None)
            found.pop("promptLookupMax", None)
        return found

    def _in_order(self, rows: Sequence[dict[str, int]], *, deepest: int) -> None:
        """Ranges one after the other, from 1 on."""
        first = 1
        for row in rows:
            row |= {"minSeqs": first, "maxSeqs": first + self._random.choice((1, 7, 63))}
            row["numSpeculativeTokens"] = min(row["numSpeculativeTokens"], deepest)
            first = row["maxSeqs"] + 1

    def object(self, schema: Mapping[str, Any], path: str) -> dict[str, Any]:
        required = schema.get("required", ())
        found = {}
        for name, inner in schema["properties"].items():
            often = 0.5 if path.startswith("speculative") and name in ("model", "numSpeculativeTokens") else _SAID
            if name in required or self._random.random() < often:
                found[name] = self._value(inner, f"{path}.{name}" if path else name)
        return found

    def _draft(self) -> dict[str, Any]:
        """A checkpoint whose shape is said: the operator cannot look into its folder as vLLM does."""
        repository = self._random.choice(list(DRAFTS))
        shape = plain(checkpoint_facts(repository))
        known = _SPEC["properties"]["model"]["properties"]["shape"]["properties"]
        return {
            "huggingFace": {"repository": repository},
            "shape": {name: value for name, value in shape.items() if name in known},
        }

    def _value(self, schema: Mapping[str, Any], path: str) -> Any:
        random = self._random
        if path in self._leaves:
            return self._leaves[path]()
        if path == "speculative":
            return self._speculative(schema)
        if schema["type"] == "object":
            return self.object(schema, path)
        if schema["type"] == "array":
            count = random.choice((0, 1, 1, 2, 3))
            return [self._value(schema["items"], path) for _ in range(min(count, schema.get("maxItems", count)))]
        if schema["type"] == "boolean":
            return random.random() < 0.5
        usual = _USUAL.get(path.rpartition(".")[2])
        if usual is not None and random.random() >= _STRANGE:
            return random.choice(usual)
        if schema["type"] == "integer":
            return self._integer(schema)
        return random.choice(_STRANGE_WORDS)

    def _integer(self, schema: Mapping[str, Any]) -> int:
        """Its bounds, or any size between."""
        low, high = schema["minimum"], schema["maximum"]
        if self._random.random() < 0.3:
            return int(self._random.choice((low, high)))
        magnitude = self._random.uniform(0, len(str(high)))
        return int(max(low, min(high, low + 10**magnitude - 1)))

    def _word(self, usual: Sequence[str]) -> str:
        return self._random.choice(_STRANGE_WORDS if self._random.random() < _STRANGE else usual)

    def _extra_arguments(self) -> list[str]:
        return [self._extra_argument() for _ in range(self._random.choice((1, 1, 2, 3)))]

    def _extra_argument(self) -> str:
        random = self._random
        if random.random() < 0.1:
            return random.choice(
                ("--max-num-se=4", "--enabel-eplb", "--swap-space=4", "--api-key=x", "--host=::", "--no")
            )
        flag = random.choice(_flags(self._release.version))
        return argument(flag, random, strange=random.random() < 0.15)


@cache
def _flags(version: str) -> tuple[Flag, ...]:
    release = engine_version(version)
    assert isinstance(release, EngineVersion)
    allowed = [flag for flag in release.flags.values() if flag.mark == "allowed"]
    others = [flag for flag in release.flags.values() if flag.mark != "allowed"]
    # Most of what people add is allowed.
    return (*allowed * 6, *others)


# Values of flags whose form is their own.
_EXAMPLES = {
    "quantization_config": '{"linear":"fp8_per_tensor"}',
    "compilation_config": '{"cudagraph_mode":"PIECEWISE","mode":3}',
    "limit_mm_per_prompt": '{"image":2}',
    "show_hidden_metrics_for_version": "0.31",
    "otlp_traces_endpoint": "http://traces:4317",
    "watermark": "0.05",
    "video_pruning_rate": "0.5",
}


def argument(flag: Flag, random: Random, *, strange: bool = False) -> str:
    """One word that says this flag, with a value of its kind, or one that is no value of it."""
    if flag.kind in ("switch", "presence"):
        option = random.choice((flag.flag, *flag.negatives[:1]))
        return f"{option}=1" if strange else option
    if strange:
        strange_values = ("", "-1", "x", "1e9", "{", "true", "--", "$(id)", "9" * 30)
        return random.choice((flag.flag, f"{flag.flag}={random.choice(strange_values)}"))
    return f"{flag.flag}={_plausible(flag, random)}"


def _plausible(flag: Flag, random: Random) -> str:
    if flag.name in _EXAMPLES:
        return _EXAMPLES[flag.name]
    if flag.choices or flag.words:
        return random.choice([word for word in flag.choices or flag.words if word not in flag.refused])
    if flag.kind in ("integer", "size", "sizeOrAuto"):
        return str(
            flag.default if isinstance(flag.default, int) and random.random() < 0.4 else random.choice((1, 2, 16, 300))
        )
    if flag.kind == "number":
        return random.choice(("0.5", "0.1", "1.0"))
    if flag.kind in ("json", "jsonOrText"):
        return json.dumps(flag.default if isinstance(flag.default, (dict, list)) else {})
    return str(flag.default) if flag.default else "auto"
