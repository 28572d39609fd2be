"""What the data of each vLLM release promises."""

from __future__ import annotations

import pytest

from inference_fleet.api.conditions import Reason
from inference_fleet.api.refusal import Refusal
from inference_fleet.engine.command_line import options_of
from inference_fleet.engine.versions import (
    KEPT_RELEASES,
    BatchDefaults,
    EngineVersion,
    engine_version,
    known_versions,
)

GIBIBYTE = 2**30


def known(version: str) -> EngineVersion:
    found = engine_version(version)
    assert isinstance(found, EngineVersion)
    return found


@pytest.fixture(params=known_versions())
def release(request: pytest.FixtureRequest) -> EngineVersion:
    return known(request.param)


@pytest.mark.parametrize("version", ["0.31.0", "0.34.0", "1.0.0", "latest", "0.33"])
def test_an_unknown_release_is_refused_and_the_known_ones_are_named(version: str) -> None:
    refusal = engine_version(version)

    assert isinstance(refusal, Refusal)
    assert (refusal.path, refusal.reason) == ("engine.vllm.version", Reason.UNKNOWN_VERSION)
    assert "0.32 and 0.33." in refusal.message


def test_a_newer_patch_of_a_known_minor_is_taken_but_not_as_reviewed() -> None:
    assert known("0.33.0").reviewed
    assert not known("0.33.7").reviewed


def test_patches_that_nobody_runs_are_not_kept_for_ever() -> None:
    first = known("0.33.1")
    options = options_of(first)
    for patch in range(100, 100 + 2 * KEPT_RELEASES):
        options_of(known(f"0.33.{patch}"))

    assert known("0.33.1") is not first
    assert options_of(first) is not options


def test_every_flag_is_typed_with_its_field_or_allowed_or_denied_with_a_reason(release: EngineVersion) -> None:
    for flag in release.flags.values():
        assert (flag.mark == "typed") == (flag.field is not None), flag.flag
        assert (flag.mark == "denied") == (flag.reason is not None), flag.flag


def test_no_spelling_means_two_flags(release: EngineVersion) -> None:
    spellings = [spelling for flag in release.flags.values() for spelling in flag.spellings]

    assert len(spellings) == len(set(spellings))


def test_the_first_way_to_say_no_is_one_that_every_release_takes(release: EngineVersion) -> None:
    for flag in release.flags.values():
        if flag.kind == "switch":
            assert flag.negatives[0] == f"--no-{flag.flag[2:]}"


@pytest.mark.parametrize(
    ("architecture", "gibibytes", "tokens", "sequences"),
    [("10.0", 180, 16384, 1024), ("9.0", 79, 8192, 1024), ("8.0", 79, 2048, 256), ("8.9", 45, 2048, 256)],
)
def test_batch_defaults_follow_the_memory_of_a_device(
    release: EngineVersion, architecture: str, gibibytes: int, tokens: int, sequences: int
) -> None:
    defaults = release.batch_defaults(
        platform="CUDA", architecture=architecture, device_memory_bytes=gibibytes * GIBIBYTE, processes=1
    )

    assert defaults == BatchDefaults(max_num_batched_tokens=tokens, max_num_seqs=sequences)


def test_batch_defaults_of_a_cpu_grow_with_its_processes(release: EngineVersion) -> None:
    defaults = release.batch_defaults(platform="CPU", architecture="x86_64", device_memory_bytes=0, processes=2)

    assert defaults == BatchDefaults(max_num_batched_tokens=4096, max_num_seqs=256)


def test_default_images_carry_the_version_and_a_platform_without_one_says_so(release: EngineVersion) -> None:
    assert release.image("CUDA") == f"vllm/vllm-openai:v{release.version}"
    assert release.image("CPU") == f"vllm/vllm-openai-cpu:v{release.version}"
    assert release.image("XPU") is None
