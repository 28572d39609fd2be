"""What is known of a model: `model.shape`, and what only a catalogue or a config.json says beside it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inference_fleet.api.checkpoint import ModelShape
from inference_fleet.api.intent import overlay, plain

_FULL = "F*"
_WINDOWED = "SC"
_WITH_STATE = "LM"

Positive = Annotated[int, Field(ge=1)]


class ModelFacts(ModelShape):
    """A shape with its layers told apart. Everything may be unknown (None).

    layer_pattern: one letter a layer: F or * full attention, S or C attention over `sliding_window` tokens, L or M a
    state instead of a cache, E neither. quantized_experts_only: attention and embeddings are stored unquantized.
    shared_expert_width: of the experts that every token goes through, together. rotary_table_positions: of all tables
    of sines and cosines that vLLM keeps, where they are more than `max_position_embeddings`. state_dtype: of a state's
    numbers other than its convolution's; None: as the engine computes.
    """

    layer_pattern: Annotated[str, Field(max_length=1000, pattern="^[FSCLME*]+$")] | None = None
    global_head_dim: Positive | None = None
    num_global_key_value_heads: Positive | None = None
    index_head_dim: Positive | None = None
    state_elements_per_layer: Positive | None = None
    state_convolution_elements: Positive | None = None
    state_dtype: Annotated[str, Field(max_length=20)] | None = None
    moe_intermediate_size: Positive | None = None
    shared_expert_width: Positive | None = None
    first_dense_layers: Positive | None = None
    moe_layer_step: Positive | None = None
    quantization_bits: Positive | None = None
    quantization_group_size: Positive | None = None
    quantized_experts_only: bool | None = None
    active_parameters: Positive | None = None
    rotary_table_positions: Positive | None = None

    @property
    def full_attention_layers(self) -> int | None:
        """Layers that keep every token."""
        return self._layers(_FULL, plain_means=self.sliding_window is None)

    @property
    def windowed_layers(self) -> int | None:
        """Layers that keep the last `sliding_window` tokens."""
        return self._layers(_WINDOWED, plain_means=self.sliding_window is not None)

    @property
    def state_layers(self) -> int:
        """Layers that keep a state of constant size for each sequence."""
        return sum(letter in _WITH_STATE for letter in self.layer_pattern or "")

    @property
    def expert_layers(self) -> int | None:
        """Layers with experts."""
        if self.num_hidden_layers is None:
            return None
        if not self.num_local_experts:
            return 0
        if "E" in (self.layer_pattern or ""):
            return (self.layer_pattern or "").count("E")
        return (self.num_hidden_layers - (self.first_dense_layers or 0)) // (self.moe_layer_step or 1)

    @property
    def key_value_width(self) -> int | None:
        """Width of a head."""
        if self.head_dim is not None:
            return self.head_dim
        if self.hidden_size is None or not self.num_attention_heads:
            return None
        return self.hidden_size // self.num_attention_heads

    @property
    def expert_parameters(self) -> int | None:
        """Parameters of all routed experts; 0 without experts, None if their width is not known."""
        if not self.num_local_experts:
            return 0
        layers, width = self.expert_layers, self.moe_intermediate_size or self.intermediate_size
        if layers is None or width is None or self.hidden_size is None:
            return None
        # Up, gate and down; Nemotron's experts, the ones with layers of their own, have no gate.
        matrices = 2 if "E" in (self.layer_pattern or "") else 3
        return layers * self.num_local_experts * matrices * self.hidden_size * width

    @property
    def embedding_parameters(self) -> int:
        """Input and output embeddings, which no method quantizes; 0 if unknown."""
        if self.vocab_size is None or self.hidden_size is None:
            return 0
        return self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)

    def _layers(self, letters: str, *, plain_means: bool) -> int | None:
        if self.layer_pattern is None:
            return self.num_hidden_layers if plain_means else 0 if self.num_hidden_layers is not None else None
        return sum(letter in letters for letter in self.layer_pattern)


def with_shape(facts: ModelFacts | None, shape: ModelShape | None) -> ModelFacts | None:
    """Facts from elsewhere with what the spec says laid over them."""
    if shape is None:
        return facts
    return ModelFacts.model_validate(overlay(plain(facts) if facts else {}, plain(shape)))
