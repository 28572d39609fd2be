"""`plan`: the verdict as text and as inference-fleet/plan/v1, with the exit status that goes with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK, EXIT_REFUSED, EXIT_USAGE, run
from inference_fleet.cli.plan_table import table

DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "inferencefleet.io/v1alpha1",
    "kind": "InferenceDeployment",
    "metadata": {"name": "llama-8b", "namespace": "chat"},
    "spec": {
        "model": {"huggingFace": {"repository": "org/model"}},
        "engine": {"vllm": {"version": "0.33.0", "maxModelLen": 8192}},
        "variants": [{"name": "h100", "acceleratorClassName": "nvidia-h100-80gb"}],
        "scaling": {"minReplicas": 2, "maxReplicas": 5},
    },
}
MEMORY_KEYS = {
    "verdict", "deviceBytes", "budgetBytes", "weightsBytes", "kvCacheBytes", "activationBytes", "cudaGraphBytes",
    "runtimeBytes", "loraBytes", "draftModelBytes", "kvBytesPerToken", "kvCacheTokens", "concurrencyAtMaxModelLen",
    "largestMaxModelLen", "cheapestFix",
}  # fmt: skip


def priced(name: str, price: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "inferencefleet.io/v1alpha1",
        "kind": "AcceleratorClass",
        "metadata": {"name": name},
        "spec": {
            "platform": "CUDA",
            "architecture": "9.0",
            "deviceMemory": "81079Mi",
            "devicesPerNode": 8,
            "devices": {"extendedResource": "nvidia.com/gpu"},
            "cost": {"perDeviceHour": price, "currency": "USD"},
            **spec,
        },
    }


def deployment(**spec: Any) -> dict[str, Any]:
    return {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], **spec}}


def written(folder: Path, *documents: Any, name: str = "file.yaml") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return str(path)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = run(["plan", "-o", "json", *arguments])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return status, found


def test_a_good_spec_is_accepted_with_every_key_of_the_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, found = report(capsys, "-f", written(tmp_path, DEPLOYMENT))

    assert status == EXIT_OK
    assert found["schemaVersion"] == "inference-fleet/plan/v1"
    (result,) = found["results"]
    assert set(result) == {"namespace", "name", "accepted", "refusals", "warnings", "variants", "cost"}
    assert (result["namespace"], result["name"], result["accepted"]) == ("chat", "llama-8b", True)
    (variant,) = result["variants"]
    assert set(variant) == {
        "name", "acceleratorClassName", "engineVersion", "image", "command", "devicesPerReplica", "shapeSource",
        "effective", "memory", "estimate", "alternatives", "objectives", "costPerHour", "currency",
    }  # fmt: skip
    assert variant["command"][:3] == ["vllm", "serve", "--model=org/model"]
    assert variant["effective"]["maxModelLen"] == 8192
    assert set(variant["memory"]) == MEMORY_KEYS
    assert result["cost"] == {"minPerHour": None, "maxPerHour": None, "currency": None}


def test_a_refused_spec_ends_with_its_own_status_and_the_field(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = deployment(engine={"vllm": {"version": "0.33.0", "quantization": {"method": "gguf"}}})
    status, found = report(capsys, "-f", written(tmp_path, wrong))

    assert status == EXIT_REFUSED
    (result,) = found["results"]
    assert not result["accepted"]
    (refusal,) = result["refusals"]
    assert refusal["path"] == "spec.engine.vllm.quantization.method"
    assert refusal["variant"] == "h100"
    assert "compressed-tensors" in refusal["suggestion"]
    assert result["variants"][0]["memory"] is None


def test_one_bad_variant_leaves_its_sibling_but_not_the_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = [
        {"name": "h100", "acceleratorClassName": "nvidia-h100-80gb"},
        {"name": "none", "acceleratorClassName": "nvidia-nothing"},
    ]
    status, found = report(capsys, "-f", written(tmp_path, deployment(variants=variants)))

    assert status == EXIT_REFUSED
    assert found["results"][0]["accepted"]
    assert found["results"][0]["refusals"][0]["path"] == "spec.variants[1].acceleratorClassName"


def test_cost_runs_from_the_fewest_cheapest_to_the_most_expensive_within_the_variants_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = [
        {"name": "cheap", "acceleratorClassName": "cheap"},
        {"name": "dear", "acceleratorClassName": "dear", "maxReplicas": 1},
    ]
    file = written(tmp_path, deployment(variants=variants), priced("cheap", "1.00"))
    classes = written(tmp_path, priced("dear", "2.50"), name="classes.yaml")
    _, found = report(capsys, "-f", file, "--accelerators", classes)

    assert [variant["costPerHour"] for variant in found["results"][0]["variants"]] == [1.0, 2.5]
    assert found["results"][0]["cost"] == {"minPerHour": 2.0, "maxPerHour": 2.5 + 4 * 1.0, "currency": "USD"}


def test_a_class_of_the_cluster_wins_over_a_built_in_one_and_its_namespaces_are_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = priced("nvidia-h100-80gb", "3.00", namespaceSelector={"matchLabels": {"team": "x"}})
    listed = {"apiVersion": "v1", "kind": "List", "items": [own]}
    status, found = report(
        capsys, "-f", written(tmp_path, DEPLOYMENT), "--accelerators", written(tmp_path, listed, name="classes.yaml")
    )

    assert status == EXIT_OK
    assert found["results"][0]["variants"][0]["costPerHour"] == 3.0


def test_the_table_shows_verdict_limits_and_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = deployment(engine={"vllm": {"version": "0.33.0", "trustRemoteCode": True}})
    status = run(["plan", "-f", written(tmp_path, DEPLOYMENT, other)])
    text = capsys.readouterr().out

    assert status == EXIT_REFUSED
    assert "accepted" in text
    assert "8,192 tokens a sequence" in text
    assert "refused, 1 refusal, 2 warnings" in text
    assert "spec.engine.vllm.trustRemoteCode" in text
    assert "--full" in text


def test_the_whole_command_is_shown_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["plan", "--full", "-f", written(tmp_path, DEPLOYMENT)])

    assert "--gpu-memory-utilization=0.92" in capsys.readouterr().out


def test_standard_input_is_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(DEPLOYMENT)))

    assert run(["plan", "-f", "-"]) == EXIT_OK


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("a: [\n", EXIT_FAILED, "line 2"),
        ("kind: ConfigMap", EXIT_FAILED, "holds no InferenceDeployment"),
        ("", EXIT_FAILED, "holds no InferenceDeployment"),
    ],
)
def test_a_file_that_holds_nothing_to_check_is_an_error_with_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, status: int, words: str
) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text, encoding="utf-8")

    assert run(["plan", "-f", str(file)]) == status
    assert words in capsys.readouterr().err


def test_a_missing_file_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "-f", str(tmp_path / "nothing.yaml")]) == EXIT_USAGE
    assert "there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("broken", [{"metadata": {}}, {"metadata": None}, {"spec": None}])
def test_an_object_without_name_or_spec_is_refused_not_crashed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: dict[str, Any]
) -> None:
    status, found = report(capsys, "-f", written(tmp_path, {**DEPLOYMENT, **broken}))

    assert status == EXIT_REFUSED
    assert not found["results"][0]["accepted"]


LLAMA = {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B-Instruct"}}
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
}


def config_file(folder: Path, text: str) -> str:
    path = folder / "config.json"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_known_model_gets_memory_and_an_estimate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    goal = {"name": "first-token", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "95"}
    status, found = report(capsys, "-f", written(tmp_path, deployment(model=LLAMA, objectives=[goal])))

    assert status == EXIT_OK
    (variant,) = found["results"][0]["variants"]
    assert variant["shapeSource"] == "catalogue"
    assert variant["memory"]["verdict"] == "Fits"
    assert variant["memory"]["kvBytesPerToken"] == 131072
    assert set(variant["estimate"]) == {
        "boundBy", "promptTokens", "timeToFirstTokenSeconds", "interTokenLatencySeconds", "tokensPerSecond",
        "sequencesAtFull", "errorPercent", "speculation",
    }  # fmt: skip
    assert variant["objectives"][0]["metByIdleReplica"] is True
    fp8, cache = variant["alternatives"]
    assert (fp8["change"], cache["change"]) == ("quantization fp8_per_tensor", "kvCacheDtype fp8")
    # Half the weights to read for one sequence; half the cache for many, and twice as much room for it.
    one = variant["estimate"]["interTokenLatencySeconds"]["atOne"]
    assert fp8["interTokenLatencySeconds"]["atOne"] < 0.75 * one
    assert cache["interTokenLatencySeconds"]["atOne"] == pytest.approx(one, rel=0.02)
    assert cache["kvCacheTokens"] == pytest.approx(2 * variant["memory"]["kvCacheTokens"], rel=0.01)
    assert cache["tokensPerSecond"]["atFull"] > variant["estimate"]["tokensPerSecond"]["atFull"]


def test_what_is_set_already_or_refused_is_no_alternative(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"version": "0.33.0", "maxModelLen": 8192, "kvCache": {"kvCacheDtype": "fp8"}}
    variants = [
        {"name": "h100", "acceleratorClassName": "nvidia-h100-80gb"},
        {
            "name": "a100",
            "acceleratorClassName": "nvidia-a100-80gb",
            "engine": {"vllm": {"kvCache": {"kvCacheDtype": "auto"}}},
        },
    ]
    file = written(tmp_path, deployment(model=LLAMA, engine={"vllm": settings}, variants=variants))
    _, found = report(capsys, "-f", file)
    changes = [[each["change"] for each in variant["alternatives"]] for variant in found["results"][0]["variants"]]

    assert changes[0] == ["quantization fp8_per_tensor"]
    assert "quantization fp8_per_tensor" in changes[1]


def test_the_table_shows_what_a_known_model_holds_and_how_fast_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = {"name": "cadence", "metric": "InterTokenLatency", "thresholdMilliseconds": 1, "targetPercent": "95"}
    assert run(["plan", "-f", written(tmp_path, deployment(model=LLAMA, objectives=[goal]))]) == EXIT_OK
    text = capsys.readouterr().out

    assert "fits: weights 15.0 (=), KV cache" in text
    assert "sequences of 8,192 tokens, or " in text
    assert "bound" in text
    assert "cadence 1 ms: MISSED even by an idle replica" in text
    assert max(len(line) for line in text.splitlines() if "command" not in line) <= 120


def test_what_does_not_fit_shows_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large = {"huggingFace": {"repository": "meta-llama/Llama-3.3-70B-Instruct"}}
    status, found = report(capsys, "-f", written(tmp_path, deployment(model=large)))

    assert status == EXIT_REFUSED
    (variant,) = found["results"][0]["variants"]
    assert variant["memory"]["verdict"] == "Refused"
    assert variant["memory"]["cheapestFix"] == found["results"][0]["refusals"][0]["suggestion"].split(": ")[1].split(
        ";"
    )[0].rstrip(".").removesuffix(" (tight)")
    run(["plan", "-f", written(tmp_path, deployment(model=large))])
    assert "refused: weights 131.4" in capsys.readouterr().out


def test_a_config_json_tells_the_shape_of_a_model_that_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_file(tmp_path, json.dumps(CONFIG))
    status, found = report(capsys, "-f", written(tmp_path, DEPLOYMENT), "--config", config)

    assert status == EXIT_OK
    (variant,) = found["results"][0]["variants"]
    assert (variant["shapeSource"], variant["memory"]["verdict"]) == ("config", "Fits")


@pytest.mark.parametrize(
    ("text", "words"), [("{", "is not JSON"), ("[]", "not a JSON object"), ('{"a": 1}', "num_hidden_layers")]
)
def test_a_config_json_of_another_kind_is_named(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, DEPLOYMENT)

    assert run(["plan", "-f", file, "--config", config_file(tmp_path, text)]) == EXIT_FAILED
    assert words in capsys.readouterr().err
    assert run(["plan", "-f", file, "--config", str(tmp_path / "none.json")]) == EXIT_USAGE


def test_a_misspelt_field_is_refused_as_kubectl_refuses_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    misspelt = deployment(engine={"vllm": {"version": "0.33.0", "maxModelLength": 8192}})
    status, found = report(capsys, "-f", written(tmp_path, misspelt))
    (result,) = found["results"]

    assert (status, result["accepted"]) == (EXIT_REFUSED, False)
    assert result["refusals"][0]["path"] == "spec.engine.vllm.maxModelLength"
    assert result["refusals"][0]["suggestion"] == "Did you mean maxModelLen?"


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_lines_are_no_wider_than_the_terminal(
    columns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    llama = {"huggingFace": {"repository": "meta-llama/Llama-3.1-8B-Instruct"}}
    variants = [
        {"name": "h100", "acceleratorClassName": "nvidia-h100-80gb"},
        {"name": "l4", "acceleratorClassName": "nvidia-l4", "engine": {"vllm": {"maxModelLen": 131072}}},
        {"name": "none", "acceleratorClassName": "nvidia-nothing"},
    ]
    file = written(tmp_path, deployment(model=llama, variants=variants))

    assert run(["plan", "-f", file, "--full"]) == EXIT_REFUSED
    lines = capsys.readouterr().out.splitlines()
    # A flag is never broken: a line may be one word too long.
    assert [line for line in lines if len(line) > min(columns, 118) and " " in line.strip()] == []
    assert any(line.startswith("    fits         with maxModelLen ") for line in lines)


@pytest.mark.parametrize(
    ("at_one", "at_full", "words"),
    [
        (0.01, 0.02, "3 guessed tokens a step pay off whatever is accepted with 1 to 64 sequences"),
        (0.3, 1.24, "pay off from ~0.3 accepted with 1 sequence, from ~1.2 accepted with 64"),
        (0.3, 3.0, "pay off from ~0.3 accepted with 1 sequence, never with 64"),
    ],
)
def test_the_table_says_when_speculation_pays(at_one: float, at_full: float, words: str) -> None:
    speculation = {"numSpeculativeTokens": 3, "acceptedTokensToPay": {"atOne": at_one, "atFull": at_full}}
    latency, rate = {"atOne": 0.02, "atFull": 0.04}, {"atOne": 50.0, "atFull": 1600.0}
    estimate = {
        "boundBy": "Compute",
        "promptTokens": 1000,
        "timeToFirstTokenSeconds": 0.1,
        "interTokenLatencySeconds": latency,
        "tokensPerSecond": rate,
        "sequencesAtFull": 64,
        "errorPercent": 50,
        "speculation": speculation,
    }
    limits = {"maxModelLen": 8192, "maxNumSeqs": 64, "maxNumBatchedTokens": 2048}
    memory = {"deviceBytes": 2**34, "budgetBytes": 2**33, "weightsBytes": None, "kvCacheTokens": None}
    variant = {
        "name": "a", "engineVersion": "0.33.0", "acceleratorClassName": "x", "devicesPerReplica": 1, "currency": None,
        "memory": {**memory, "cheapestFix": None}, "estimate": estimate, "effective": limits, "command": ["vllm"],
        "image": "i", "alternatives": [], "objectives": [],
    }  # fmt: skip
    cost = {"currency": None}
    result = {
        "name": "a", "namespace": "b", "accepted": True, "variants": [variant], "refusals": [], "warnings": [],
        "cost": cost,
    }  # fmt: skip

    assert words in table(result, full=False)
