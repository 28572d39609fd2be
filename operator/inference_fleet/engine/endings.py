"""Why an engine ended, read from the end of its log: a reason, the fact, and what would help.

A container's termination message is the last 4096 bytes of what its failing processes wrote (failure_log.py), or else
the last 2048 bytes of its log. Logs may hold anything, secrets too: of a message nothing gets out but what a pattern
captures (numbers, names of flags, of repositories), and our own words. The patterns are held by messages that the real
engine left (tests/data/engine-failures); those of devices, which no processor can provoke, follow the texts of vLLM
0.32, PyTorch and the NVIDIA runtime.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from inference_fleet.api.conditions import Reason

_FLAG = r"(?P<flag>--[a-z0-9][a-z0-9-]{0,60})"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REPOSITORY = rf"(?P<repository>{_NAME}/{_NAME})"


@dataclass(frozen=True)
class Ending:
    """Why it ended. step: what to do, where the reason's own advice is not enough. lasting: no restart heals it."""

    reason: Reason
    cause: str
    step: str | None = None
    lasting: bool = False


@dataclass(frozen=True)
class _Rule:
    """A pattern with what it means; cause and step may use its named groups.

    The pattern is text: `re` keeps what it compiled, and most programs never see an engine end.
    """

    pattern: str
    reason: Reason
    cause: str
    step: str | None = None
    lasting: bool = False


def ending_of(message: str) -> Ending | None:
    """The first rule that applies; None if the message tells nothing."""
    for rule in _RULES:
        found = re.search(rule.pattern, message, re.DOTALL)
        if found is not None:
            captured = {key: value for key, value in found.groupdict().items() if value is not None}
            if _complete(rule, captured):
                step = rule.step.format(**captured) if rule.step else None
                return Ending(rule.reason, rule.cause.format(**captured), step, rule.lasting)
    return None


def _complete(rule: _Rule, captured: dict[str, str]) -> bool:
    wanted = set(re.findall(r"{(\w+)}", rule.cause + (rule.step or "")))
    return wanted <= set(captured)


# In this order: what names its field before what only names its kind.
_RULES: Final = (
    _Rule(
        r"max seq len \((?P<length>\d{1,9})\), \(?(?P<needed>[\d.]{1,12}) GiB KV cache is needed, which is larger than"
        r" the available KV cache memory \((?P<left>-?[\d.]{1,12}) GiB\).{0,200}?estimated maximum model length is"
        r" (?P<longest>\d{1,9})",
        Reason.OUT_OF_DEVICE_MEMORY,
        "one sequence of {length} tokens needs {needed} GiB of KV cache, {left} GiB are left; the engine proposes"
        " maxModelLen {longest}",
        "Set maxModelLen to {longest} or less, or give the cache more memory (`inference-fleet plan` says how).",
        # The settings are too large for the device; one that another holds says so before it is asked for a cache.
        lasting=True,
    ),
    _Rule(
        r"\(?(?P<needed>[\d.]{1,12}) GiB KV cache is needed, which is larger than the available KV cache memory"
        r" \((?P<left>-?[\d.]{1,12}) GiB\)",
        Reason.OUT_OF_DEVICE_MEMORY,
        "one sequence of the longest length needs {needed} GiB of KV cache, {left} GiB are left",
        lasting=True,
    ),
    _Rule(
        r"No available memory for the cache blocks",
        Reason.OUT_OF_DEVICE_MEMORY,
        "weights and activations leave no memory for the KV cache",
        "Take more devices, smaller weights or a larger gpuMemoryUtilizationPercent.",
    ),
    _Rule(
        r"(?:Free|Available) memory on (?:device|node) \S{0,20} ?\((?P<free>[\d.]{1,12})/(?P<total>[\d.]{1,12}) GiB\)"
        r" on startup is less than desired (?:GPU|CPU) memory utilization \((?P<share>[\d.]{1,6}),"
        r" (?P<wanted>[\d.]{1,12}) GiB\)",
        Reason.OUT_OF_DEVICE_MEMORY,
        "something else holds the device: {free} of {total} GiB are free, the engine's share is {wanted} GiB",
        "Find what holds the device, or lower gpuMemoryUtilizationPercent.",
    ),
    _Rule(
        r"(?:CUDA|HIP|XPU) out of memory\. Tried to allocate (?P<tried>[\d.]{1,12} [KMG]iB)\..{0,40}?total capacity of"
        r" (?P<total>[\d.]{1,12} GiB)(?: of which (?P<free>[\d.]{1,12} [KMG]iB) is free)?",
        Reason.OUT_OF_DEVICE_MEMORY,
        "{tried} more did not fit into the device's {total}",
        "Take more devices, smaller weights, fewer maxNumSeqs or maxNumBatchedTokens.",
    ),
    _Rule(
        r"(?:CUDA|HIP|XPU) out of memory|OutOfMemoryError: (?:CUDA|HIP|XPU)|Not enough memory to load",
        Reason.OUT_OF_DEVICE_MEMORY,
        "the device's memory is not enough",
    ),
    _Rule(
        r"DefaultCPUAllocator: (?:can't allocate|not enough) memory: you tried to allocate (?P<bytes>\d{1,20}) bytes",
        Reason.OUT_OF_HOST_MEMORY,
        "{bytes} bytes more were not to be had of the node's memory",
        "Raise the node's or the container's memory, or lower maxModelLen and maxNumSeqs.",
    ),
    _Rule(
        rf"error: unrecognized arguments: {_FLAG}",
        Reason.UNSUPPORTED_FLAG,
        "the engine does not know the flag {flag}",
    ),
    _Rule(
        rf"error: argument {_FLAG}[^:\n]{{0,60}}: (?:invalid|expected|not allowed|Value|Invalid)",
        Reason.UNSUPPORTED_FLAG,
        "the engine does not take the value of {flag}",
    ),
    _Rule(
        rf"gated repo.{{0,200}}?huggingface\.co/{_REPOSITORY}",
        Reason.MODEL_GATED,
        "{repository} is gated, and the token's account has no access",
    ),
    _Rule(
        r"gated repo|GatedRepoError", Reason.MODEL_GATED, "the model is gated, and the token's account has no access"
    ),
    _Rule(
        r"401 (?:Client Error|Unauthorized)|Invalid credentials in Authorization|Invalid username or password",
        Reason.TOKEN_REFUSED,
        "the hub answers 401: it does not know the token",
    ),
    _Rule(r"429 (?:Client Error|Too Many Requests)|Too Many Requests", Reason.HUB_THROTTLED, "the hub answers 429"),
    _Rule(
        r"(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{0,99}) is not a valid git identifier",
        Reason.MODEL_NOT_FOUND,
        "the model has no revision {revision}",
        "Check model.huggingFace.revision.",
    ),
    _Rule(
        rf"{_REPOSITORY} is not a local folder and is not a valid model identifier",
        Reason.MODEL_NOT_FOUND,
        "the hub has no model {repository} that this token may see",
    ),
    _Rule(
        r"RepositoryNotFoundError|Repository Not Found|404 Client Error",
        Reason.MODEL_NOT_FOUND,
        "the hub has no such model that this token may see",
    ),
    _Rule(
        r"No space left on device|Errno 28|ENOSPC|not enough disk space|Disk quota exceeded",
        Reason.NO_SPACE,
        "a disk is full",
    ),
    _Rule(
        r"couldn't connect to '|LocalEntryNotFoundError|cannot find the requested files|Max retries exceeded|Name or"
        r" service not known|Temporary failure in name resolution|50[0234] (?:Server Error|Bad Gateway|Service)",
        Reason.HUB_UNREACHABLE,
        "the hub cannot be reached or refuses, and the model is not cached",
    ),
    _Rule(
        r"Invalid repository ID or local directory specified|Repo id must be in the form|Cannot find any model weights"
        r"|does not appear to have a file named|instantiate the backend tokenizer|no file named",
        Reason.MODEL_NOT_FOUND,
        "weights, configuration or tokenizer are not where they should be",
    ),
    _Rule(
        r"SafetensorError|HeaderTooLarge|HeaderTooSmall|MetadataIncompleteBuffer|InvalidHeader|PytorchStreamReader"
        r" failed",
        Reason.MODEL_DAMAGED,
        "a weights file is cut off or damaged",
    ),
    _Rule(
        r"(?:shape mismatch|size mismatch|Attempted to load weight|has no parameter named|were not initialized from"
        r" checkpoint|assert param_size == loaded_weight|loaded_weight\.shape)",
        Reason.MODEL_DAMAGED,
        "the weights are not those of the model's configuration",
    ),
    _Rule(
        r"model type `(?P<kind>[A-Za-z0-9_.-]{1,60})` but Transformers does not recognize",
        Reason.UNSUPPORTED_MODEL,
        "this release does not know models of type {kind}",
        "Take a newer release of the engine.",
    ),
    _Rule(
        # The list of all architectures is longer than a termination message: only its end is kept.
        r"Model architectures \[|For\w{1,60}'\]\) \[type=value_error|'Transformers\w{1,60}'\]\)",
        Reason.UNSUPPORTED_MODEL,
        "this release does not know the model's architecture",
        "Take a newer release of the engine.",
    ),
    _Rule(
        r"contains custom code which must be executed|trust_remote_code=True",
        Reason.UNSUPPORTED_MODEL,
        "the model brings code of its own, which is not run unasked",
        "Set engine.vllm.trustRemoteCode if you trust the repository; pin its revision.",
    ),
    _Rule(
        r"max_model_len \((?P<length>\d{1,12})\) is greater than the derived max_model_len"
        r" \(\w{1,40}=(?P<most>\d{1,12})",
        Reason.SETTING_REFUSED_BY_ENGINE,
        "maxModelLen {length} is beyond the model's {most} tokens",
        "Lower maxModelLen to {most}.",
    ),
    _Rule(
        r"attention heads \((?P<heads>\d{1,6})\) must be divisible by tensor parallel size \((?P<split>\d{1,6})\)",
        Reason.SETTING_REFUSED_BY_ENGINE,
        "tensorParallelSize {split} does not divide {heads} attention heads",
        "Use a divisor.",
    ),
    _Rule(
        r"Cannot find the config file for (?P<method>[a-z0-9_]{1,40})",
        Reason.SETTING_REFUSED_BY_ENGINE,
        "the checkpoint is not quantized by {method}",
        "Leave quantization out, or take a checkpoint of that method.",
    ),
    _Rule(
        r"validation errors? for (?P<part>[A-Za-z]{1,40}(?:Config|Args))\b",
        Reason.SETTING_REFUSED_BY_ENGINE,
        "the engine refuses a setting of its {part}",
    ),
    _Rule(
        r"No CUDA GPUs are available|Failed to infer device type|Found no NVIDIA driver|no NVIDIA GPU|No HIP GPUs"
        r"|no CUDA-capable device|libcuda\.so\.1: cannot open|CUDA driver version is insufficient|No XPU devices",
        Reason.NO_DEVICE,
        "the engine sees no device, or none that its driver can use",
    ),
    _Rule(
        r"uncorrectable ECC error|hardware error|unspecified launch failure|device-side assert|illegal memory access"
        r"|GPU is lost|fallen off the bus|ncclSystemError|NCCL error|nvidia-container-cli",
        Reason.NODE_FAULT,
        "the device or its driver failed",
    ),
    # What vLLM's front end says last, whatever befell its engine.
    _Rule(
        r"Engine core initialization failed",
        Reason.ENGINE_CRASHED,
        "loading or sizing failed in the engine's own process; its log has the cause further up",
        "See `kubectl logs --previous`, above the words Engine core initialization failed.",
    ),
)
