"""How long one engine step takes: the one model that the emulator, the laboratory and the scaler's prior share.

Linear in the work of the step. Source of the form: fits of inference-sim (BLIS) to measured runs of vLLM, and
Splitwise's performance profile, whose inter-token latency is linear in the batch within 1.7 to 5 %.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimeModel:
    """step = base + per_prefill_token x prefill tokens + per_decoding_sequence x decoding sequences, in seconds."""

    base_seconds: float
    per_prefill_token_seconds: float
    per_decoding_sequence_seconds: float

    def step_seconds(self, *, prefill_tokens: float, decoding_sequences: float) -> float:
        """Duration of a step that prefills so many tokens and decodes one token of so many sequences."""
        return (
            self.base_seconds
            + self.per_prefill_token_seconds * prefill_tokens
            + self.per_decoding_sequence_seconds * decoding_sequences
        )


# Middle of the published fits for 8B models on current cards (design prior: 15 ms, 50 us, 30 us).
DEFAULT_STEP_TIME = StepTimeModel(
    base_seconds=0.015, per_prefill_token_seconds=50e-6, per_decoding_sequence_seconds=30e-6
)
