"""Where the operator means to differ from vLLM's own check of a configuration, and why.

The check runs on processor cores, without devices, weights and tokenizer: what only those would show is refused by the
operator alone. So is what vLLM would do and the operator does not allow.
"""

from __future__ import annotations

from collections.abc import Mapping

_VLLM = "engine.vllm"
_SPLIT = f"{_VLLM}.parallelism"
_DEVICE = "a build for processor cores knows nothing of other devices"
# An extra flag that is refused may say the same as a field, also abbreviated, and then that holds: nothing else can be
# compared.
OVERRULING = {
    ("extra_arguments._marked", "engine.vllm.extraArgs"),
    ("extra_arguments.extra_arguments", "engine.vllm.extraArgs"),
}
_LATER = "seen by vLLM when it builds the model, after minutes"

# (check, field) -> why vLLM does not say so.
REFUSED_BY_THE_OPERATOR_ALONE: Mapping[tuple[str, str], str] = {
    ("cache.cache_type", f"{_VLLM}.kvCache.kvCacheDtype"): "0.33 refuses it; 0.32 does not look",
    ("drafts.draft", f"{_VLLM}.speculative.model"): "vLLM takes the draft and does not use it",
    ("extra_arguments._marked", f"{_VLLM}.extraArgs"): (
        "the platform's rule: no code, files, doors or lost metrics through a tenant's flags"
    ),
    ("extra_arguments._needed", f"{_VLLM}.extraArgs"): "vLLM takes the flag and does not use it",
    ("extra_arguments._valued", f"{_VLLM}.extraArgs"): (
        "an empty value, or a word that is looked up when the engine serves: parsers of tools, tokenizer modes"
    ),
    ("extra_arguments.extra_arguments", f"{_VLLM}.extraArgs"): (
        "vLLM takes the last of two and abbreviations; who reads the spec would not know what holds"
    ),
    ("memory._refusal", f"{_VLLM}.maxModelLen"): _DEVICE,
    ("memory._refusal", f"{_SPLIT}.tensorParallelSize"): _DEVICE,
    ("model.image", f"{_VLLM}.image"): "there is no image to run",
    ("model.remote_code", f"{_VLLM}.trustRemoteCode"): "the platform's rule: no code of a checkpoint",
    ("parallelism.devices_of_a_node", _SPLIT): _DEVICE,
    ("parallelism.experts", f"{_SPLIT}.dataParallelSize"): "vLLM makes copies, which nobody can scale one by one",
    ("parallelism.key_value_heads", f"{_SPLIT}.tensorParallelSize"): _LATER,
    ("parallelism.vocabulary", f"{_SPLIT}.tensorParallelSize"): _LATER,
    ("parallelism.layers", f"{_SPLIT}.pipelineParallelSize"): "a stage without layers is a device that does nothing",
    ("quantization._of_checkpoint", "model"): "kernels are looked for when the model is built; " + _DEVICE,
    ("quantization._on_device", f"{_VLLM}.quantization.method"): (
        "kernels are looked for when the model is built; " + _DEVICE
    ),
    ("speculation._unknown", f"{_VLLM}.speculative.method"): "code or files that no field can name",
    ("speculation.depth_by_batch_size", f"{_VLLM}.speculative.numSpeculativeTokensPerBatchSize"): (
        "vLLM reads the ranges when it starts: it ends there, or takes less than was said"
    ),
}
# The same for what so few specs say that a sample of 2,000 may hold none.
SELDOM_MET: Mapping[tuple[str, str], str] = {
    (
        "quantization._unknown",
        f"{_VLLM}.quantization.method",
    ): "vLLM reads a name in capitals, too; there is one spelling",
}
# Rules of the API itself that are none of vLLM's.
_RANGES = "vLLM reads the ranges when it starts, and ends there"
BROKEN_RULES_VLLM_LACKS: Mapping[str, str] = {
    "this speculative method takes no draft model: leave speculative.model out": (
        "vLLM takes the draft and does not use it"
    ),
    "two ranges of numSpeculativeTokensPerBatchSize overlap": _RANGES,
    "minSeqs must not exceed maxSeqs": _RANGES,
    'quantization.method "none" only makes sense in a variant: leave quantization out': "a word of the API",
    "promptLookupMin and promptLookupMax belong to the methods ngram and ngram_gpu": (
        "vLLM takes them and does not use them"
    ),
}
SELDOM_BROKEN: Mapping[str, str] = {
    'speculative.method "none" only makes sense in a variant: leave speculative out': "a word of the API",
}
# What vLLM says against accepted specs for want of something that a pod has: a pattern of its words.
OF_THIS_MACHINE: Mapping[str, str] = {
    "Model Runner V1 does not support: dspark": "on GPUs vLLM has another runner",
    "only supported on CUDA devices": _DEVICE,
    "Arctic Inference is required": "the image that the spec names is said to have it",
    r"\(awq\) does not match .*\((awq_marlin|auto_awq)\)": "the build for processor cores reads these as awq only",
    "Failed to load mistral 'params.json'": "the folder has no params.json",
    "backend tokenizer|failed to tokenize reasoning": "the folder holds no tokenizer",
}
# Rules that no drawn spec can break.
MET_ELSEWHERE: Mapping[str, str] = {
    "faults._finding": "no release that the operator starts has a fault that is refused and that settings can meet",
    "model.source": "the API's rule asks for a source; only an object older than that rule has none",
}
