"""For every rule one object that keeps it and one that breaks it: tried on the API server and on reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference_fleet.api.intent import overlay
from inference_fleet.api.names import API_VERSION

_SPEC: Mapping[str, Any] = {
    "model": {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B-Instruct"}},
    "engine": {"vllm": {"version": "0.33.0"}},
    "variants": [{"name": "h100", "acceleratorClassName": "nvidia-h100-80gb"}],
}
_CLASS: Mapping[str, Any] = {
    "platform": "CUDA",
    "architecture": "9.0",
    "deviceMemory": "81079Mi",
    "devices": {"extendedResource": "nvidia.com/gpu"},
}
HUB = {"repository": "meta-llama/Llama-3.2-1B"}
DRAFT = {"huggingFace": HUB}


@dataclass(frozen=True)
class RuleExample:
    """One rule. message: the rule's own, or part of what the schema says. path: where reading reports it."""

    message: str
    good: Mapping[str, Any]
    bad: Mapping[str, Any]
    path: str


def deployment(name: str = "llama-8b", **spec: Any) -> dict[str, Any]:
    """A small InferenceDeployment with `spec` laid over it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": overlay(_SPEC, spec),
    }


def accelerator_class(name: str = "nvidia-h100-80gb", **spec: Any) -> dict[str, Any]:
    """A small AcceleratorClass with `spec` in place of its fields; None leaves a field out."""
    laid = {key: value for key, value in {**_CLASS, **spec}.items() if value is not None}
    return {"apiVersion": API_VERSION, "kind": "AcceleratorClass", "metadata": {"name": name}, "spec": laid}


def _vllm(**settings: Any) -> dict[str, Any]:
    return deployment(engine={"vllm": settings})


def _speculative(**settings: Any) -> dict[str, Any]:
    return _vllm(speculative=settings)


def _variants(*differences: Mapping[str, Any], **spec: Any) -> dict[str, Any]:
    listed = [
        {"name": f"v{index}", "acceleratorClassName": "nvidia-l40s", **difference}
        for index, difference in enumerate(differences)
    ]
    return deployment(variants=listed, **spec)


def _resources(request: Mapping[str, str], limit: Mapping[str, str]) -> dict[str, Any]:
    return deployment(pod={"resources": {"requests": request, "limits": limit}})


def _objective(name: str = "first-token", milliseconds: int = 1000, percent: str = "99") -> dict[str, Any]:
    return {
        "name": name,
        "metric": "TimeToFirstToken",
        "thresholdMilliseconds": milliseconds,
        "targetPercent": percent,
    }


def _schedule(**settings: Any) -> dict[str, Any]:
    return {"name": "office", "start": "0 8 * * 1-5", "durationSeconds": 36000, **settings}


def _client(**selectors: Any) -> dict[str, Any]:
    return deployment(routing={"networkPolicy": {"clients": [selectors]}})


def _depths(*ranges: tuple[int, int]) -> dict[str, Any]:
    depths = [{"minSeqs": low, "maxSeqs": high, "numSpeculativeTokens": 2} for low, high in ranges]
    return _speculative(method="ngram", numSpeculativeTokensPerBatchSize=depths)


def _keys(first: int, last: int) -> dict[str, str]:
    return {f"key-{index}": "x" for index in range(first, last)}


_LABEL_KEY = "keys have at most 253 characters and the form of a label's"
_LABELS = {"matchLabels": {"app": "gateway"}}

DEPLOYMENT_RULES = (
    RuleExample(
        "metadata.name must have at most 40 characters, start with a letter and hold only lower-case letters, digits"
        " and dashes (DNS-1035): Services and pods are named after it",
        deployment(name="a" * 40),
        deployment(name="a" * 41),
        "metadata.name",
    ),
    RuleExample(
        "exactly one of huggingFace, persistentVolumeClaim, image, s3 must be set",
        deployment(model={"persistentVolumeClaim": {"claimName": "weights"}}),
        deployment(model={"huggingFace": HUB, "s3": {"uri": "s3://bucket/model"}}),
        "spec.model",
    ),
    RuleExample(
        "numKeyValueHeads must not exceed numAttentionHeads",
        deployment(model={"huggingFace": HUB, "shape": {"numAttentionHeads": 32, "numKeyValueHeads": 8}}),
        deployment(model={"huggingFace": HUB, "shape": {"numAttentionHeads": 8, "numKeyValueHeads": 32}}),
        "spec.model.shape.numKeyValueHeads",
    ),
    RuleExample(
        "numExpertsPerTok must not exceed numLocalExperts",
        deployment(model={"huggingFace": HUB, "shape": {"numLocalExperts": 8, "numExpertsPerTok": 2}}),
        deployment(model={"huggingFace": HUB, "shape": {"numLocalExperts": 2, "numExpertsPerTok": 8}}),
        "spec.model.shape.numExpertsPerTok",
    ),
    RuleExample(
        "exactly one engine must be set: vllm",
        deployment(),
        {**deployment(), "spec": {**_SPEC, "engine": {}}},
        "spec.engine",
    ),
    RuleExample(
        "maxNumBatchedTokens must be at least maxNumSeqs: every running sequence takes one token of a step",
        _vllm(batching={"maxNumSeqs": 256, "maxNumBatchedTokens": 256}),
        _vllm(batching={"maxNumSeqs": 256, "maxNumBatchedTokens": 255}),
        "spec.engine.vllm.batching.maxNumBatchedTokens",
    ),
    RuleExample(
        "maxNumActiveSeqs must not exceed maxNumSeqs",
        _vllm(batching={"maxNumSeqs": 64, "maxNumActiveSeqs": 64}),
        _vllm(batching={"maxNumSeqs": 64, "maxNumActiveSeqs": 65}),
        "spec.engine.vllm.batching.maxNumActiveSeqs",
    ),
    RuleExample(
        "this speculative method needs a draft: set speculative.model",
        _speculative(method="eagle3", model=DRAFT),
        _speculative(method="eagle3"),
        "spec.engine.vllm.speculative.model",
    ),
    RuleExample(
        "this speculative method takes no draft model: leave speculative.model out",
        _speculative(method="ngram"),
        _speculative(method="ngram", model=DRAFT),
        "spec.engine.vllm.speculative.model",
    ),
    RuleExample(
        "promptLookupMin must not exceed promptLookupMax",
        _speculative(method="ngram", promptLookupMin=2, promptLookupMax=4),
        _speculative(method="ngram", promptLookupMin=5, promptLookupMax=4),
        "spec.engine.vllm.speculative.promptLookupMin",
    ),
    RuleExample(
        "promptLookupMin and promptLookupMax belong to the methods ngram and ngram_gpu",
        _speculative(method="ngram_gpu", promptLookupMax=4),
        _speculative(method="suffix", promptLookupMax=4),
        "spec.engine.vllm.speculative",
    ),
    RuleExample(
        "two ranges of numSpeculativeTokensPerBatchSize overlap",
        _depths((1, 8), (9, 64)),
        _depths((1, 8), (8, 64)),
        "spec.engine.vllm.speculative.numSpeculativeTokensPerBatchSize",
    ),
    RuleExample(
        "minSeqs must not exceed maxSeqs",
        _depths((4, 4)),
        _depths((5, 4)),
        "spec.engine.vllm.speculative.numSpeculativeTokensPerBatchSize[0].minSeqs",
    ),
    *(
        RuleExample(
            f"requests.{name} must not exceed limits.{name}",
            _resources({name: small}, {name: large}),
            _resources({name: large}, {name: small}),
            "spec.pod.resources",
        )
        for name, small, large in (
            ("cpu", "7500m", "8"),
            ("memory", "60G", "64Gi"),
            ("ephemeralStorage", "1e9", "1Gi"),
        )
    ),
    RuleExample(
        "exactly one of value and secretKeyRef must be set",
        deployment(pod={"env": [{"name": "TZ", "value": ""}]}),
        deployment(pod={"env": [{"name": "TZ"}]}),
        "spec.pod.env[0]",
    ),
    RuleExample(
        "keys of inferencefleet.io, kubernetes.io, Argo CD and Flux are not allowed here",
        deployment(pod={"annotations": {"example.com/team": "search"}}),
        deployment(pod={"annotations": {"argocd.argoproj.io/tracking-id": "x"}}),
        "spec.pod.annotations",
    ),
    RuleExample(
        _LABEL_KEY,
        _client(podSelector={"matchLabels": {"example.com/app": "gateway"}}),
        _client(podSelector={"matchLabels": {"no spaces": "gateway"}}),
        "spec.routing.networkPolicy.clients[0].podSelector.matchLabels",
    ),
    RuleExample(
        "minReplicas must not exceed maxReplicas",
        deployment(scaling={"minReplicas": 4, "maxReplicas": 4}),
        deployment(scaling={"minReplicas": 2}),
        "spec.scaling.minReplicas",
    ),
    RuleExample(
        "a schedule needs minReplicas or maxReplicas",
        deployment(scaling={"maxReplicas": 8, "schedules": [_schedule(minReplicas=4)]}),
        deployment(scaling={"maxReplicas": 8, "schedules": [_schedule()]}),
        "spec.scaling.schedules[0]",
    ),
    RuleExample(
        "a schedule's bound contradicts the other bound of scaling: set both in the schedule",
        deployment(scaling={"maxReplicas": 8, "schedules": [_schedule(minReplicas=9, maxReplicas=12)]}),
        deployment(scaling={"maxReplicas": 8, "schedules": [_schedule(minReplicas=9)]}),
        "spec.scaling.schedules",
    ),
    RuleExample(
        "maxSurge is a number from 1 or a percentage such as 25%",
        deployment(rollout={"maxSurge": "25%"}),
        deployment(rollout={"maxSurge": "0%"}),
        "spec.rollout.maxSurge",
    ),
    RuleExample(
        "minReadySeconds must be less than progressDeadlineSeconds",
        deployment(rollout={"minReadySeconds": 59, "progressDeadlineSeconds": 60}),
        deployment(rollout={"minReadySeconds": 60, "progressDeadlineSeconds": 60}),
        "spec.rollout.minReadySeconds",
    ),
    RuleExample(
        "a client needs namespaceSelector, podSelector or both",
        _client(podSelector=_LABELS),
        _client(),
        "spec.routing.networkPolicy.clients[0]",
    ),
    RuleExample(
        "targetPercent must lie above 0 and below 100",
        deployment(objectives=[_objective(percent="99.9")]),
        deployment(objectives=[_objective(percent="100")]),
        "spec.objectives[0].targetPercent",
    ),
    RuleExample(
        "a name appears twice in servedModelNames",
        deployment(servedModelNames=["llama", "llama-8b"]),
        deployment(servedModelNames=["llama", "llama"]),
        "spec.servedModelNames",
    ),
    RuleExample(
        "two objectives have the same metric and threshold",
        deployment(objectives=[_objective("a", 500), _objective("b", 1000)]),
        deployment(objectives=[_objective("a", percent="90"), _objective("b")]),
        "spec.objectives",
    ),
    RuleExample(
        'speculative.method "none" only makes sense in a variant: leave speculative out',
        _variants({"engine": {"vllm": {"speculative": {"method": "none"}}}}),
        _speculative(method="none"),
        "spec.engine.vllm.speculative.method",
    ),
    RuleExample(
        'quantization.method "none" only makes sense in a variant: leave quantization out',
        _variants({"engine": {"vllm": {"quantization": {"method": "none"}}}}),
        _vllm(quantization={"method": "none"}),
        "spec.engine.vllm.quantization.method",
    ),
    RuleExample(
        "the variants' maxReplicas together are less than scaling.minReplicas",
        _variants({"maxReplicas": 2}, {"maxReplicas": 2}, scaling={"minReplicas": 4, "maxReplicas": 8}),
        _variants({"maxReplicas": 2}, {"maxReplicas": 1}, scaling={"minReplicas": 4, "maxReplicas": 8}),
        "spec.scaling.minReplicas",
    ),
    RuleExample(
        "the variants' minReplicas together exceed scaling.maxReplicas",
        _variants({"minReplicas": 2}, {"minReplicas": 2}, scaling={"maxReplicas": 4}),
        _variants({"minReplicas": 2}, {"minReplicas": 3}, scaling={"maxReplicas": 4}),
        "spec.scaling.maxReplicas",
    ),
    *(
        RuleExample(
            f"pod.{part} and a variant's have more than 16 keys together",
            _variants({"pod": {part: _keys(4, 16)}}, pod={part: _keys(0, 15)}),
            _variants({"pod": {part: _keys(4, 17)}}, pod={part: _keys(0, 15)}),
            "spec.variants",
        )
        for part in ("labels", "annotations")
    ),
)

_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}

CLASS_RULES = (
    RuleExample(
        "metadata.name must have at most 63 characters",
        accelerator_class(name="a" * 63),
        accelerator_class(name="a" * 64),
        "metadata.name",
    ),
    RuleExample(
        "devices must be set on every platform but CPU",
        accelerator_class(platform="CPU", architecture="x86-64", devices=None),
        accelerator_class(devices=None),
        "spec.devices",
    ),
    RuleExample(
        "devices needs exactly one member: extendedResource",
        accelerator_class(),
        accelerator_class(devices={}),
        "spec.devices",
    ),
    RuleExample(
        "architecture on CUDA is the compute capability, such as 9.0",
        accelerator_class(architecture="12.0"),
        accelerator_class(architecture="sm_90"),
        "spec.architecture",
    ),
    RuleExample(
        "architecture on ROCm is the LLVM target, such as gfx942",
        accelerator_class(platform="ROCm", architecture="gfx942"),
        accelerator_class(platform="ROCm", architecture="9.0"),
        "spec.architecture",
    ),
    RuleExample(
        "deviceMemory must be at least 1Mi: it is a quantity of bytes, such as 81079Mi",
        accelerator_class(deviceMemory="24e9"),
        accelerator_class(deviceMemory="80"),
        "spec.deviceMemory",
    ),
    RuleExample(
        "a toleration without key needs operator Exists",
        accelerator_class(tolerations=[{"operator": "Exists"}]),
        accelerator_class(tolerations=[{"value": "x"}]),
        "spec.tolerations[0].operator",
    ),
    RuleExample(
        "a toleration with operator Exists takes no value",
        accelerator_class(tolerations=[{"key": "a", "value": "x"}]),
        accelerator_class(tolerations=[{**_TOLERATION, "value": "x"}]),
        "spec.tolerations[0].value",
    ),
    RuleExample(
        "tolerationSeconds needs effect NoExecute",
        accelerator_class(tolerations=[{**_TOLERATION, "effect": "NoExecute", "tolerationSeconds": 60}]),
        accelerator_class(tolerations=[{**_TOLERATION, "tolerationSeconds": 60}]),
        "spec.tolerations[0].tolerationSeconds",
    ),
    RuleExample(
        _LABEL_KEY,
        accelerator_class(nodeSelector={"example.com/pool": "h100"}),
        accelerator_class(nodeSelector={"-pool": "h100"}),
        "spec.nodeSelector",
    ),
    RuleExample(
        "keys have at most 16 characters",
        accelerator_class(performance={"denseTeraflops": {"a" * 16: 989}}),
        accelerator_class(performance={"denseTeraflops": {"a" * 17: 989}}),
        "spec.performance.denseTeraflops",
    ),
)
