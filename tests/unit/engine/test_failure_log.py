"""The logging that has an engine's failing processes write into the container's termination message."""

from __future__ import annotations

import json
import logging
import logging.config
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.intents import make_accelerator, make_intent
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.failure_log import FAILING_LOGGERS, TERMINATION_MESSAGE_PATH, failure_logging


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """Python's logging as configured, with a file of the test's; vLLM's and uvicorn's own parts are not here."""
    path = tmp_path / "termination-log"
    text = failure_logging(())
    assert text is not None
    configuration = json.loads(text.replace(TERMINATION_MESSAGE_PATH, str(path)))
    kept = ("version", "disable_existing_loggers")
    logging.config.dictConfig(
        {
            **{key: configuration[key] for key in kept},
            "handlers": {"failures": configuration["handlers"]["failures"]},
            "loggers": {name: configuration["loggers"][name] for name in FAILING_LOGGERS},
        }
    )
    yield path
    for name in FAILING_LOGGERS:
        for handler in logging.getLogger(name).handlers:
            handler.close()
        logging.getLogger(name).handlers.clear()


def failing(name: str) -> None:
    try:
        raise ValueError(f"cause in {name}")
    except ValueError:
        logging.getLogger(name).exception("failed to start")


def test_what_ends_a_worker_and_then_its_engine_stands_in_the_file_in_this_order(file: Path) -> None:
    failing("vllm.v1.executor.multiproc_executor")
    failing("vllm.v1.engine.core")

    text = file.read_text(encoding="utf-8")
    assert text.index("cause in vllm.v1.executor") < text.index("cause in vllm.v1.engine.core")


@pytest.mark.parametrize("name", ["vllm.entrypoints.launcher", "vllm.v1.engine.async_llm", "uvicorn.error"])
def test_an_error_elsewhere_does_not_hide_the_end_of_the_log(file: Path, name: str) -> None:
    # A file that is not empty keeps the kubelet from falling back to the log.
    failing(name)

    assert not file.exists()


def test_what_is_no_error_makes_no_file(file: Path) -> None:
    logging.getLogger("vllm.v1.engine.core").warning("slow")

    assert not file.exists()


@pytest.mark.parametrize("words", [("--log-level=DEBUG",), ("--log_level", "DEBUG")])
def test_a_level_that_the_command_line_asks_for_leaves_logging_to_the_engine(words: tuple[str, ...]) -> None:
    assert failure_logging(("--port=8000", *words)) is None
    assert failure_logging(("--port=8000", "--uvicorn-log-level=warning")) is not None


@pytest.mark.parametrize(
    ("words", "paths"),
    [
        ((), []),
        (("--disable-access-log-for-endpoints=/health, /ping,",), ["/health", "/ping"]),
        (("--disable-access-log-for-endpoints", "/health"), ["/health"]),
        (("--disable-access-log-for-endpoints=/health", "--disable-access-log-for-endpoints=/ping"), ["/ping"]),
    ],
)
def test_endpoints_that_the_command_line_keeps_out_of_the_log_stay_out(
    words: tuple[str, ...], paths: list[str]
) -> None:
    configuration = json.loads(failure_logging(words) or "")
    assert configuration["filters"]["access_log_filter"]["excluded_paths"] == paths


def test_the_command_line_that_pods_get_has_this_logging() -> None:
    # It also names endpoints: were they a reason to go without, no pod would ever have it.
    found = check_variant(make_intent(), make_accelerator(), accelerator_name="h100").plan
    assert found is not None
    assert found.logging is not None
    assert '"/health"' in found.logging
