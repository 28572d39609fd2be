"""The logging that pods get is the release's own, and one handler more."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from builders.vllm_validator import newer_release
from inference_fleet.engine.failure_log import FAILING_LOGGERS, failure_logging
from inference_fleet.sandbox.real_engine import find_real_engine

ARGUMENTS = ("--disable-access-log-for-endpoints=/health,/ping",)
# Takes the configuration as the release itself would, and tells what the release and its server have without one.
ASK = """
import json, logging, os, sys
answers = os.fdopen(os.dup(1), "w"); os.dup2(2, 1)
import vllm.logger, vllm.logging_utils
from copy import deepcopy
from logging.config import dictConfig
server = vllm.logging_utils.create_uvicorn_log_config(["/health", "/ping"])
own = {"vllm": deepcopy(vllm.logger.DEFAULT_LOGGING_CONFIG), "server": server}
dictConfig(json.load(sys.stdin))
own["level"] = logging.getLogger("vllm").level
answers.write(json.dumps(own, default=lambda found: f"vllm.logging_utils.{found.__name__}"))
"""


@pytest.fixture(params=["installed", "newest"])
def own(request: pytest.FixtureRequest) -> Any:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    environment = {**os.environ, "VLLM_TARGET_DEVICE": "cpu", "VLLM_LOGGING_LEVEL": "warning"}
    if request.param == "newest":
        environment["PYTHONPATH"] = str(newer_release()[1])
    done = subprocess.run(
        [str(engine.python), "-c", ASK],
        input=failure_logging(ARGUMENTS),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_it_is_the_releases_own_with_one_handler_more(own: Any) -> None:
    ours = json.loads((failure_logging(ARGUMENTS) or "").replace("ext://vllm.envs.VLLM_LOGGING_LEVEL", "WARNING"))
    assert ours["handlers"].pop("failures")["class"] == "logging.FileHandler"
    assert [ours["loggers"].pop(name) for name in FAILING_LOGGERS] == [{"handlers": ["failures"]}] * 2
    del own["vllm"]["formatters"]["vllm_color"]  # a pod's output is no terminal

    for part in ("filters", "formatters", "handlers", "loggers"):
        assert ours.pop(part) == own["vllm"].pop(part, {}) | own["server"].pop(part)
    assert ours == own["vllm"] == own["server"]


def test_the_level_is_the_one_the_user_sets(own: Any) -> None:
    # 30: WARNING. The file names no level, it says where vLLM keeps the one of VLLM_LOGGING_LEVEL.
    assert own["level"] == 30
