"""How many parameters a shape has, where nobody says: matrices of attention, MLP, experts and embeddings.

Norms, biases, routers and vision towers are left out: within 3 % for 120 of the 128 catalogued models (the others have
a tower, a prediction layer or layers of another kind; tests/unit/engine/test_parameter_count.py).
"""

from __future__ import annotations

from inference_fleet.engine.model_facts import ModelFacts

_MLP_MATRICES = 3
# Their MLP has no gate: two matrices.
_WITHOUT_GATE = ("PhiForCausalLM", "FalconForCausalLM")


def counted_parameters(facts: ModelFacts) -> int | None:
    """Their number by the shape; None if a size that it needs is not known."""
    layers, hidden = facts.num_hidden_layers, facts.hidden_size
    experts, expert_layers = facts.expert_parameters, facts.expert_layers
    attention = _attention(facts)
    if layers is None or hidden is None or attention is None or experts is None or expert_layers is None:
        return None
    if facts.vocab_size is None:
        return None
    alone = "E" in (facts.layer_pattern or "")
    dense_layers = 0 if alone else layers - expert_layers
    if dense_layers and facts.intermediate_size is None:
        return None
    matrices = 2 if facts.architecture in _WITHOUT_GATE else _MLP_MATRICES
    mlp = dense_layers * matrices * hidden * (facts.intermediate_size or 0)
    attending = layers - expert_layers if alone else layers
    return facts.embedding_parameters + attending * attention + mlp + experts + _shared_experts(facts)


def counted_active_parameters(facts: ModelFacts, *, parameters: int) -> int:
    """Those that one token goes through: all but the experts that are not chosen."""
    if not facts.num_local_experts or not facts.num_experts_per_tok:
        return parameters
    experts = facts.expert_parameters
    chosen = min(1.0, facts.num_experts_per_tok / facts.num_local_experts)
    if experts is None or experts >= parameters:
        return int(parameters * chosen)
    return int(parameters - experts * (1 - chosen))


def _shared_experts(facts: ModelFacts) -> int:
    width = facts.shared_expert_width or 0
    return (facts.expert_layers or 0) * _MLP_MATRICES * (facts.hidden_size or 0) * width


def _attention(facts: ModelFacts) -> int | None:
    """Of one layer; layers with a state instead have about as many."""
    hidden, heads, width = facts.hidden_size, facts.num_attention_heads, facts.key_value_width
    if hidden is None or heads is None or width is None:
        return None
    if facts.kv_lora_rank:
        rope = facts.qk_rope_head_dim or 0
        latent = hidden * (facts.kv_lora_rank + rope) + facts.kv_lora_rank * heads * 2 * (width - rope)
        return latent + hidden * heads * width + heads * (width - rope) * hidden
    shared = facts.num_key_value_heads or heads
    return hidden * width * (2 * heads + 2 * shared)
