"""Images are names: a known one has a command, any other is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference_fleet.sandbox.node.images import EngineKind, ImageCatalog, NotRunnable, Program
from inference_fleet.sandbox.real_engine import ENVIRONMENT, RealEngine

EMULATED = ImageCatalog(engine=EngineKind.EMULATED, python="/py")
REAL = ImageCatalog(
    engine=EngineKind.VLLM,
    real_engine=RealEngine(version="0.32.0", python=Path("/vllm/python"), model=Path("/tiny")),
    python="/py",
)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("docker.io/vllm/vllm-openai:v0.32.0", "0.32.0"),
        ("registry.example:5000/mirror/vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("vllm/vllm-openai:v0.33.0-cu130", "0.33.0"),
        ("vllm/vllm-openai:v0.33.0@sha256:aaaa", "0.33.0"),
        ("vllm/vllm-openai-rocm:v0.33.0", "0.33.0"),
    ],
)
def test_an_engine_image_runs_an_emulator_of_the_tags_version(image: str, version: str) -> None:
    program = EMULATED.program(image, command=("vllm", "serve", "m"), args=("--port", "8000"))
    assert program == Program(
        ("/py", "-m", "inference_fleet.emulator", "vllm", "serve", "m", "--port", "8000"),
        {"INFERENCE_FLEET_EMULATOR_VERSION": version},
    )


def test_an_engine_image_without_command_runs_its_entry_point() -> None:
    program = EMULATED.program("vllm/vllm-openai:v0.33.0", command=(), args=("--model", "m"))
    assert isinstance(program, Program)
    assert program.argv[3:] == ("vllm", "serve", "--model", "m")


@pytest.mark.parametrize(
    "image",
    [
        "busybox",
        "vllm/vllm-openai:latest",
        "vllm/vllm-openai",
        "vllm/vllm-openai:nightly",
        "evil-vllm/vllm-openai:v0.33.0",
        "localhost:5000/vllm-openai:v0.33.0",
        "ghcr.io/inference-fleet/operator-evil:v1",
        "ghcr.io/inference-fleet/tiny-model:v1",  # where there is no model
        "",
    ],
)
def test_any_other_image_is_not_there(image: str) -> None:
    assert isinstance(EMULATED.find(image), NotRunnable)
    assert isinstance(EMULATED.program(image, command=("sh",), args=()), NotRunnable)


@pytest.mark.parametrize("command", ["sh", "/bin/bash", "sleep", "vllm2"])
@pytest.mark.parametrize("image", ["vllm/vllm-openai:v0.33.0", "ghcr.io/inference-fleet/operator:0.1.0"])
def test_only_mapped_commands_run(image: str, command: str) -> None:
    refused = EMULATED.program(image, command=(command, "-c", "true"), args=())
    assert isinstance(refused, NotRunnable)
    assert command in refused.message


@pytest.mark.parametrize("image", ["ghcr.io/inference-fleet/operator:0.1.0", "ghcr.io/inference-fleet/operator"])
def test_the_operators_image_runs_the_operator(image: str) -> None:
    bare = EMULATED.program(image, command=(), args=())
    assert bare == Program(("/py", "-m", "inference_fleet", "run"))
    named = EMULATED.program(image, command=("inference-fleet",), args=("run", "--namespace", "a"))
    assert named == Program(("/py", "-m", "inference_fleet", "run", "--namespace", "a"))


@pytest.mark.parametrize(
    ("command", "args", "served"),
    [
        (("vllm", "serve"), ("a/b", "--max-num-seqs", "4"), ("--max-num-seqs", "4", "--served-model-name", "a/b")),
        (("vllm", "serve"), ("a/b", "--served-model-name", "c"), ("--served-model-name", "c")),
        ((), ("--model=a/b", "--revision", "f00"), ("--served-model-name", "a/b")),
        (("python3", "-m", "vllm.x"), ("--port", "1", "--model", "a/b"), ("--port", "1", "--served-model-name", "a/b")),
        (("vllm", "serve"), ("--port=1",), ("--port=1",)),
    ],
)
def test_a_real_engine_serves_its_own_model_under_the_pods_name(
    command: tuple[str, ...], args: tuple[str, ...], served: tuple[str, ...]
) -> None:
    program = REAL.program("vllm/vllm-openai:v0.32.0", command=command, args=args)
    assert isinstance(program, Program)
    assert program.argv[0] == "/vllm/python"
    assert program.argv[3:] == ("--model", "/tiny", *served)
    assert program.environment == ENVIRONMENT


@pytest.mark.parametrize("model", ["/weights", "/weights/llama", "s3://bucket/model"])
def test_a_real_engine_reads_a_folder_or_an_address_itself(model: str) -> None:
    args = ("--model", model, "--served-model-name", "a")
    program = REAL.program("vllm/vllm-openai:v0.32.0", command=("vllm", "serve"), args=args)
    assert isinstance(program, Program)
    assert program.argv[3:] == args


def test_the_image_of_a_model_is_a_folder_to_mount_and_runs_nothing(tmp_path: Path) -> None:
    (tmp_path / "model" / "part").mkdir(parents=True)
    catalog = ImageCatalog(engine=EngineKind.EMULATED, model=tmp_path / "model", python="/py")
    image = "registry.example/inference-fleet/tiny-model@sha256:" + "a" * 64
    assert catalog.find(image) == image
    assert catalog.volume(image) == tmp_path / "model"
    assert catalog.volume(image, path="part") == tmp_path / "model" / "part"
    for path in ("missing", ".."):
        assert isinstance(catalog.volume(image, path=path), NotRunnable)
    assert isinstance(catalog.program(image, command=("sh",), args=()), NotRunnable)
    assert isinstance(catalog.volume("vllm/vllm-openai:v0.33.0"), NotRunnable)


def test_a_real_engine_that_is_not_set_up_is_said() -> None:
    refused = ImageCatalog(engine=EngineKind.VLLM).program("vllm/vllm-openai:v0.32.0", command=(), args=("m",))
    assert isinstance(refused, NotRunnable)
    assert "setup-engine" in refused.message
