"""Device memory beside weights and cache: activations of a step, CUDA graphs, and what is not PyTorch's.

No formula of vLLM's gives these: they are fits of start-up logs (tests/data/memory-observations.json), all of vLLM 0.17
to 0.19 on H100, none newer than 0.25. Versions up to 0.16 took 3 to 4.5 GiB more for activations. Since 0.21 the graphs
count as part of the engine's share. For 0.32 and 0.33 these are extrapolations: hence `UNCERTAIN_BYTES`. Every constant
is the fit of every second log, judged on the others (tests/unit/engine/test_memory_fit.py, docs/explanation/memory.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from inference_fleet.engine.case import Case
from inference_fleet.engine.model_facts import ModelFacts
from inference_fleet.engine.weights import activation_type_bytes

_GIBIBYTE = 2**30
# How far the sum of these may be off, either way: 0.6 GiB at most in both halves of the logs; the rest is for newer
# releases.
UNCERTAIN_BYTES = _GIBIBYTE

_ACTIVATION_BASE_BYTES = int(0.23 * _GIBIBYTE)
# The sampler's profile: logits of every sequence, several copies of them. Bytes each, in the fit.
_LOGIT_BYTES = 13.9
_EXPERTS_BYTES = int(0.29 * _GIBIBYTE)
# Where a shape does not say: a vocabulary of 2024 to 2026, and an MLP of the usual width.
_USUAL_VOCABULARY = 151_936
_USUAL_MLP_RATIO = 4

# Captured graphs: so much, and more for each layer and for experts.
_GRAPH_BASE_BYTES = int(0.35 * _GIBIBYTE)
_GRAPH_LAYER_BYTES = int(0.0158 * _GIBIBYTE)
_GRAPH_EXPERTS_BYTES = int(0.37 * _GIBIBYTE)
# Sequences from which on vLLM captures its largest graph, of 512 tokens.
_GRAPH_SEQUENCES = 256

# CUDA context and libraries; where devices share a layer or experts, NCCL's buffers as well (stages of a pipeline log
# 0.07 GiB).
_RUNTIME_BYTES_ALONE = int(0.25 * _GIBIBYTE)
_RUNTIME_BYTES_TOGETHER = int(2.15 * _GIBIBYTE)


@dataclass(frozen=True, kw_only=True)
class MemoryOverhead:
    """Bytes of one device."""

    activation_bytes: int
    cuda_graph_bytes: int
    runtime_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.activation_bytes + self.cuda_graph_bytes + self.runtime_bytes


def memory_overhead(case: Case, facts: ModelFacts) -> MemoryOverhead:
    """What one device needs beside weights and cache, as far as anybody knows."""
    return MemoryOverhead(
        activation_bytes=_activations(case, facts),
        cuda_graph_bytes=0 if case.engine.enforce_eager else _graphs(case, facts),
        runtime_bytes=_RUNTIME_BYTES_TOGETHER if case.processes > _stages(case) else _RUNTIME_BYTES_ALONE,
    )


def _activations(case: Case, facts: ModelFacts) -> int:
    """The peak of a profile run: either the widest layer of a full step, or the sampling of all sequences."""
    hidden, tensor = facts.hidden_size or 0, case.tensor_parallel_size
    if facts.num_local_experts:
        width = (facts.moe_intermediate_size or facts.intermediate_size or hidden) / tensor
        numbers = (facts.num_experts_per_tok or 1) * (3 * width + hidden) + 2 * hidden
    else:
        # Gate and up together, their product; the residual and the layer's input.
        numbers = 3 * (facts.intermediate_size or _USUAL_MLP_RATIO * hidden) / tensor + 2 * hidden
    forward = case.limits.max_num_batched_tokens * numbers * activation_type_bytes(case.engine.dtype)
    logits = case.limits.max_num_seqs * (facts.vocab_size or _USUAL_VOCABULARY) * _LOGIT_BYTES
    experts = _EXPERTS_BYTES if facts.num_local_experts else 0
    return _ACTIVATION_BASE_BYTES + int(max(forward, logits)) + experts


def _graphs(case: Case, facts: ModelFacts) -> int:
    layers = -(-(facts.num_hidden_layers or 0) // _stages(case))
    variable = _GRAPH_LAYER_BYTES * layers + (_GRAPH_EXPERTS_BYTES if facts.num_local_experts else 0)
    return _GRAPH_BASE_BYTES + int(variable * min(1.0, case.limits.max_num_seqs / _GRAPH_SEQUENCES))


def _stages(case: Case) -> int:
    return case.model_parallel_size // case.tensor_parallel_size
