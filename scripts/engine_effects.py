"""What each field that becomes an argument does to latency, throughput, memory and quality, in a line each."""

from __future__ import annotations

from typing import NamedTuple


class Effect(NamedTuple):
    """`-` is no effect."""

    latency: str
    throughput: str
    memory: str
    quality: str


_SAME = "-"
_V = "engine.vllm"
EFFECTS: dict[str, Effect] = {
    "drain.timeoutSeconds": Effect("a deleted pod stays this long", _SAME, _SAME, "running answers end well"),
    f"{_V}.batching.asyncScheduling": Effect("shorter steps", "more: the device does not wait", _SAME, _SAME),
    f"{_V}.batching.enableChunkedPrefill": Effect(
        "off: a long prompt stalls all answers", "on: fuller steps", "off: larger activations", _SAME
    ),
    f"{_V}.batching.longPrefillTokenThreshold": Effect(
        "lower: short prompts overtake long ones", "lower: long prompts take more steps", _SAME, _SAME
    ),
    f"{_V}.batching.maxNumActiveSeqs": Effect(
        "lower: faster tokens, longer queue", "lower: less", _SAME, _SAME),
    f"{_V}.batching.maxNumBatchedTokens": Effect(
        "higher: earlier first token, slower tokens beside it", "higher: more", "higher: larger activations", _SAME
    ),
    f"{_V}.batching.maxNumQueuedReqs": Effect("bounds waiting: 503 instead", _SAME, _SAME, _SAME),
    f"{_V}.batching.maxNumQueuedTokens": Effect("bounds waiting: 503 instead", _SAME, _SAME, _SAME),
    f"{_V}.batching.maxNumSeqs": Effect(
        "higher: slower tokens, shorter queue", "higher: more until the cache is full", "more for CUDA graphs", _SAME
    ),
    f"{_V}.batching.schedulingPolicy": Effect("priority: urgent requests first", _SAME, _SAME, _SAME),
    f"{_V}.dtype": Effect("float32: twice as slow", "float32: half or less", "float32: twice", "float16 can overflow"),
    f"{_V}.enforceEager": Effect("slower tokens, sooner start", "less", "saves that of CUDA graphs", _SAME),
    f"{_V}.kvCache.blockSize": Effect(_SAME, "some kernels want one size", "larger: more waste per sequence", _SAME),
    f"{_V}.kvCache.enablePrefixCaching": Effect(
        "earlier first token for equal beginnings", "more for equal beginnings", "uses free cache only", _SAME
    ),
    f"{_V}.kvCache.gpuMemoryUtilizationPercent": Effect(
        "higher: fewer preemptions", "higher: more sequences", "the engine's share of the device", _SAME
    ),
    f"{_V}.kvCache.kvCacheDtype": Effect(
        "fp8: about as fast", "fp8: twice the sequences", "fp8: half the cache", "fp8: slightly lower"
    ),
    f"{_V}.maxModelLen": Effect(_SAME, _SAME, "one such sequence must fit", "longer requests are refused"),
    f"{_V}.optimizationLevel": Effect(
        "0: sooner start, slower tokens", "0: less", "2: that of CUDA graphs", _SAME),
    f"{_V}.parallelism.dataParallelSize": Effect(
        _SAME, "times this, if experts are shared well", "a cache per copy", _SAME
    ),
    f"{_V}.parallelism.enableExpertParallel": Effect(
        "depends on the network between devices", "more for many experts", "experts once, not split", _SAME
    ),
    f"{_V}.parallelism.pipelineParallelSize": Effect(
        "not faster alone", "less than tensor in one node", "layers divided by this", _SAME
    ),
    f"{_V}.parallelism.tensorParallelSize": Effect(
        "faster, less than times this", "per device: less", "weights and cache divided by this", _SAME
    ),
    f"{_V}.quantization.method": Effect(
        "faster where reading weights is the limit", "8-bit compute: more; weight-only: less at full batch",
        "half (8 bits) or a quarter (4 bits) of the weights", "lower, most at 4 bits",
    ),
    f"{_V}.speculative": Effect(
        "faster at few sequences", "less at full batch", "the draft and its cache", "the same answers in distribution"
    ),
    f"{_V}.trustRemoteCode": Effect(_SAME, _SAME, _SAME, "refused if true"),
    "model": Effect("by its size", "by its size", "its weights", "by the model"),
    "model.huggingFace.revision": Effect(_SAME, _SAME, _SAME, "pins what is served"),
    "servedModelNames": Effect(_SAME, _SAME, _SAME, _SAME),
}  # fmt: skip
