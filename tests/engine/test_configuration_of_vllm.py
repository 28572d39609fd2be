"""Right or refused: what the operator accepts, vLLM's own configuration accepts; what it refuses, vLLM refuses too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from builders.intents import make_accelerator, make_intent
from inference_fleet.cli.engine_description import ProbeFailure, probe
from inference_fleet.engine.arguments import engine_arguments
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.limits import effective_limits
from inference_fleet.engine.versions import EngineVersion, engine_version
from inference_fleet.sandbox.real_engine import find_real_engine

VERSION = "0.32.0"
# The tiny Llama of the set-up.
SHAPE = {"numHiddenLayers": 2, "numAttentionHeads": 4, "maxPositionEmbeddings": 4096}
CPU: dict[str, Any] = {"platform": "CPU", "architecture": "x86_64", "devices": None, "deviceMemory": "16Gi"}
CASES: dict[str, dict[str, Any]] = {
    # First, because vLLM writes it into the default of another flag: nothing after it may be refused for it.
    "routes of experts": {"extraArgs": ["--enable-return-routed-experts"]},
    "nothing said": {},
    "a length": {"maxModelLen": 1024},
    "too long": {"maxModelLen": 8192},
    "fewer tokens than sequences": {"batching": {"maxNumSeqs": 64, "maxNumBatchedTokens": 32}},
    "fewer tokens than the default sequences": {"batching": {"maxNumBatchedTokens": 64}},
    "more sequences than the default tokens": {"batching": {"maxNumSeqs": 4000}},
    "no chunked prefill": {"batching": {"enableChunkedPrefill": False, "maxNumBatchedTokens": 4096}},
    "no chunked prefill and few tokens": {"batching": {"enableChunkedPrefill": False, "maxNumBatchedTokens": 512}},
    "more active sequences than sequences": {"batching": {"maxNumSeqs": 16, "maxNumActiveSeqs": 32}},
    "active sequences": {"batching": {"maxNumSeqs": 16, "maxNumActiveSeqs": 8}},
    "a long threshold": {"batching": {"longPrefillTokenThreshold": 5000}},
    "a threshold": {"batching": {"longPrefillTokenThreshold": 500}},
    "priorities": {"batching": {"schedulingPolicy": "priority"}},
    "bounded queues": {"batching": {"maxNumQueuedReqs": 5, "maxNumQueuedTokens": 5000}},
    "a gone method": {"quantization": {"method": "gguf"}},
    "a deprecated method": {"quantization": {"method": "fbgemm_fp8"}},
    "a kv type": {"kvCache": {"kvCacheDtype": "fp8"}},
    "an unknown kv type": {"kvCache": {"kvCacheDtype": "int2"}},
    "a block size": {"kvCache": {"blockSize": 32, "enablePrefixCaching": False}},
    "an n-gram": {"speculative": {"method": "ngram", "numSpeculativeTokens": 3, "promptLookupMax": 4}},
    "an n-gram of no depth": {"speculative": {"method": "ngram"}},
    "depths by batch": {
        "speculative": {
            "method": "ngram",
            "numSpeculativeTokens": 3,
            "numSpeculativeTokensPerBatchSize": [
                {"minSeqs": 1, "maxSeqs": 4, "numSpeculativeTokens": 3},
                {"minSeqs": 5, "maxSeqs": 128, "numSpeculativeTokens": 0},
            ],
        }
    },
    "an unknown speculative method": {"speculative": {"method": "guess", "numSpeculativeTokens": 3}},
    "an n-gram scheduled ahead": {
        "batching": {"asyncScheduling": True},
        "speculative": {"method": "ngram", "numSpeculativeTokens": 3},
    },
    "scheduled ahead": {"batching": {"asyncScheduling": True}},
    "experts of a dense model": {"parallelism": {"tensorParallelSize": 2, "enableExpertParallel": True}},
    "stages": {"parallelism": {"tensorParallelSize": 2, "pipelineParallelSize": 2}},
    "heads that do not divide": {"parallelism": {"tensorParallelSize": 3}},
    "eager and unoptimized": {"enforceEager": True, "optimizationLevel": 0, "dtype": "bfloat16"},
    "float32": {"dtype": "float32"},
    "an unknown type": {"dtype": "int8"},
    "mamba blocks": {"extraArgs": ["--mamba-block-size=16"], "kvCache": {"enablePrefixCaching": True}},
    "mamba blocks of no cache": {"extraArgs": ["--mamba-block-size=16"], "kvCache": {"enablePrefixCaching": False}},
    "further flags": {"extraArgs": ["--seed=3", "--stream-interval=2", "--no-scheduler-reserve-full-isl"]},
}


def words(vllm: dict[str, Any], *, folder: str) -> list[str]:
    """The arguments as they would be written, refused or not, for a model in `folder`."""
    intent = make_intent(engine={"vllm": {"version": VERSION, **vllm}})
    version = engine_version(VERSION)
    assert isinstance(version, EngineVersion)
    limits = effective_limits(intent.engine, version=version, accelerator=make_accelerator(**CPU), shape=None)
    rest = [word for word in engine_arguments(intent, limits=limits) if not word.startswith("--model=")]
    return [f"--model={folder}", *rest]


def accepted(vllm: dict[str, Any]) -> bool:
    model = {"huggingFace": {"repository": "org/tiny"}, "shape": SHAPE}
    intent = make_intent(model=model, engine={"vllm": {"version": VERSION, **vllm}})
    accelerator = make_accelerator(**{**CPU, "devicesPerNode": 8})
    return not check_variant(intent, accelerator, accelerator_name="cpu").refusals


@pytest.fixture(scope="module")
def configured() -> Mapping[str, dict[str, Any]]:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    lists = [words(vllm, folder=str(engine.model)) for vllm in CASES.values()]
    found = probe(str(engine.python), configure=lists)
    assert not isinstance(found, ProbeFailure), found.message
    return dict(zip(CASES, found["configured"], strict=True))


def test_the_operators_verdict_is_vllms(configured: Mapping[str, dict[str, Any]]) -> None:
    verdicts = {name: (accepted(vllm), "error" not in configured[name]) for name, vllm in CASES.items()}

    assert {name: configured[name] for name, (ours, theirs) in verdicts.items() if ours != theirs} == {}
