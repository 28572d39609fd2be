"""What the end of an engine's log says: recorded failures of the real engine, and the texts of devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.start_failures import FAILURES
from inference_fleet.api.conditions import Reason
from inference_fleet.engine.endings import ending_of

RECORDED = Path(__file__).parents[2] / "data" / "engine-failures"
# Each is a termination message of vLLM 0.32 (tests/builders/start_failures.py records them anew).
MEANINGS = {
    "unknown-flag": (Reason.UNSUPPORTED_FLAG, "--no-such-flag"),
    "bad-value": (Reason.UNSUPPORTED_FLAG, "--max-num-seqs"),
    "length-beyond-the-model": (Reason.SETTING_REFUSED_BY_ENGINE, "1000000 is beyond the model's 4096"),
    "unknown-quantization": (Reason.SETTING_REFUSED_BY_ENGINE, "awq"),
    "heads-not-divisible": (Reason.SETTING_REFUSED_BY_ENGINE, "tensorParallelSize 3 does not divide 4"),
    "unsupported-architecture": (Reason.UNSUPPORTED_MODEL, "architecture"),
    "unknown-model-type": (Reason.UNSUPPORTED_MODEL, "no-such-type"),
    "remote-code": (Reason.UNSUPPORTED_MODEL, "code of its own"),
    "no-config": (Reason.MODEL_NOT_FOUND, "configuration"),
    "no-folder": (Reason.MODEL_NOT_FOUND, "configuration"),
    "no-tokenizer": (Reason.MODEL_NOT_FOUND, "tokenizer"),
    "hub-not-found": (Reason.MODEL_NOT_FOUND, "acme/llama-private"),
    "hub-revision-not-found": (Reason.MODEL_NOT_FOUND, "revision v9"),
    "hub-gated": (Reason.MODEL_GATED, "acme/llama-private is gated"),
    "hub-wrong-token": (Reason.TOKEN_REFUSED, "401"),
    # What the engine's and the worker's own processes write: their front end only says that one of them failed.
    "cache-too-small": (Reason.OUT_OF_DEVICE_MEMORY, "the engine proposes maxModelLen 2097024"),
    "no-host-memory": (Reason.OUT_OF_HOST_MEMORY, "5120000000000 bytes"),
    "cut-weights": (Reason.MODEL_DAMAGED, "cut off or damaged"),
    "no-weights": (Reason.MODEL_NOT_FOUND, "not where they should be"),
    "other-shape": (Reason.MODEL_DAMAGED, "not those of the model's configuration"),
    # The hub's client says the same of all three while it asks for the first file.
    "hub-throttled": (Reason.HUB_UNREACHABLE, "reached or refuses"),
    "hub-down": (Reason.HUB_UNREACHABLE, "reached or refuses"),
    "hub-unreachable": (Reason.HUB_UNREACHABLE, "reached or refuses"),
}


def test_every_recorded_failure_has_a_meaning() -> None:
    assert {path.stem for path in RECORDED.glob("*.txt")} == set(MEANINGS)
    assert set(FAILURES) == set(MEANINGS)
    assert len(MEANINGS) >= 10


@pytest.mark.parametrize("name", MEANINGS)
def test_a_recorded_failure_is_understood(name: str) -> None:
    message = (RECORDED / f"{name}.txt").read_text(encoding="utf-8")
    reason, words = MEANINGS[name]
    found = ending_of(message)

    assert len(message.encode()) <= 4096
    assert found is not None
    assert found.reason == reason
    assert words in found.cause


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a total capacity of"
            " 79.18 GiB of which 80.00 MiB is free.",
            Reason.OUT_OF_DEVICE_MEMORY,
            "224.00 MiB more did not fit into the device's 79.18 GiB",
        ),
        ("torch.OutOfMemoryError: HIP out of memory.", Reason.OUT_OF_DEVICE_MEMORY, "not enough"),
        (
            "ValueError: Free memory on device cuda:0 (60.87/79.19 GiB) on startup is less than desired GPU memory"
            " utilization (0.92, 72.85 GiB). Decrease GPU memory utilization or reduce GPU memory used by others.",
            Reason.OUT_OF_DEVICE_MEMORY,
            "60.87 of 79.19 GiB are free, the engine's share is 72.85 GiB",
        ),
        ("ValueError: No available memory for the cache blocks.", Reason.OUT_OF_DEVICE_MEMORY, "no memory for the KV"),
        ("huggingface_hub.errors: 429 Client Error: Too Many Requests for url", Reason.HUB_THROTTLED, "429"),
        ("OSError: [Errno 28] No space left on device", Reason.NO_SPACE, "full"),
        ("RuntimeError: No CUDA GPUs are available", Reason.NO_DEVICE, "no device"),
        ("RuntimeError: Failed to infer device type", Reason.NO_DEVICE, "no device"),
        ("CUDA error: uncorrectable ECC error encountered", Reason.NODE_FAULT, "failed"),
        ("safetensors_rust.SafetensorError: MetadataIncompleteBuffer", Reason.MODEL_DAMAGED, "cut off"),
    ],
)
def test_what_only_devices_and_disks_say_is_understood(message: str, reason: Reason, words: str) -> None:
    found = ending_of(f"(EngineCore pid=9) Traceback ...\n{message}\n")

    assert found is not None
    assert (found.reason, words in found.cause) == (reason, True)


@pytest.mark.parametrize("message", ["", "Killed", "INFO: Application startup complete.", "hf_abcdefghijklmnop"])
def test_what_says_nothing_means_nothing(message: str) -> None:
    assert ending_of(message) is None


@given(st.text(alphabet=st.characters(exclude_characters="-"), max_size=200), st.sampled_from(sorted(MEANINGS)))
def test_nothing_of_a_log_gets_out_but_what_a_rule_captures(noise: str, name: str) -> None:
    """Words beside the failure, whatever they are, change neither the fact nor the advice."""
    message = (RECORDED / f"{name}.txt").read_text(encoding="utf-8")
    secret = "hf_" + "".join(f"{ord(letter):x}" for letter in noise)

    assert ending_of(f"token={secret} {message}") == ending_of(message)
