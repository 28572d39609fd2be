"""Has vLLM write why it failed where the kubelet keeps it: into the container's termination message.

What fails while weights are loaded or the cache is sized fails in processes of its own. The front end then ends with a
traceback that says nothing of the cause, and that is longer than the end of the log which the kubelet would keep. With
VLLM_LOGGING_CONFIG_PATH vLLM takes its logging (a dictConfig of Python's `logging`, JSON) from a file: here its own
default, and one handler more for what the failing processes say last. Read off vLLM 0.32 and 0.33: vllm/logger.py, and
vllm/logging_utils/uvicorn_logging.py for the server's loggers, which vLLM takes from the same file; the tests with the
real engine compare.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

CONFIGURATION_VARIABLE: Final = "VLLM_LOGGING_CONFIG_PATH"
# vLLM does not start if an image says no to this one while there is a file.
SWITCH_VARIABLE: Final = "VLLM_CONFIGURE_LOGGING"
# The kubelet's default. It keeps the last 4096 bytes: the end of a worker's traceback, and of its engine's after it.
TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"
# Where the processes of an engine and of its workers log what ends them.
FAILING_LOGGERS: Final = ("vllm.v1.engine.core", "vllm.v1.executor")
# vLLM makes its own logging of these two, for which it does not look into a file: one is followed here, one left to it.
_QUIET_ENDPOINTS: Final = "--disable-access-log-for-endpoints"
_OWN_LEVEL: Final = "--log-level"
_LEVEL: Final = "ext://vllm.envs.VLLM_LOGGING_LEVEL"
_CONFIGURATION: Final[dict[str, Any]] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "vllm": {
            "()": "vllm.logging_utils.NewLineFormatter",
            "format": "(%(vllm_process_name)s pid=%(process)d) %(levelname)s %(asctime)s [%(fileinfo)s:%(lineno)d]"
            " %(message)s",
            "datefmt": "%m-%d %H:%M:%S",
            "log_level": _LEVEL,
        },
        "default": {
            "()": "uvicorn.logging.DefaultFormatter",
            "fmt": "%(levelprefix)s %(message)s",
            "use_colors": None,
        },
        "access": {
            "()": "uvicorn.logging.AccessFormatter",
            "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
        },
    },
    "handlers": {
        "vllm": {
            "class": "logging.StreamHandler",
            "formatter": "vllm",
            "level": _LEVEL,
            "stream": "ext://sys.stdout",
        },
        "default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"},
        "access": {
            "class": "logging.StreamHandler",
            "formatter": "access",
            "stream": "ext://sys.stdout",
            "filters": ["access_log_filter"],
        },
        # Opened by the first failure, appended to by every process that fails.
        "failures": {
            "class": "logging.FileHandler",
            "level": "ERROR",
            "filename": TERMINATION_MESSAGE_PATH,
            "delay": True,
        },
    },
    "loggers": {
        "vllm": {"handlers": ["vllm"], "level": _LEVEL, "propagate": False},
        **{name: {"handlers": ["failures"]} for name in FAILING_LOGGERS},
        "uvicorn": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "uvicorn.error": {"handlers": ["default"], "level": "INFO", "propagate": False},
        "uvicorn.access": {"handlers": ["access"], "level": "INFO", "propagate": False},
    },
}


def failure_logging(arguments: Sequence[str]) -> str | None:
    """The file's text for an engine with this command line; None where that asks for a level of its own."""
    said = _values(arguments)
    if _OWN_LEVEL in said:
        return None
    quiet = [path.strip() for path in said.get(_QUIET_ENDPOINTS, "").split(",") if path.strip()]
    access = {"()": "vllm.logging_utils.UvicornAccessLogFilter", "excluded_paths": quiet}
    return json.dumps({**_CONFIGURATION, "filters": {"access_log_filter": access}}, separators=(",", ":"))


def _values(arguments: Sequence[str]) -> dict[str, str]:
    """Flags with their values, as `--flag=value` or in two words; of a repeated one the last counts."""
    found = {}
    for word, after in zip(arguments, (*arguments[1:], ""), strict=False):
        flag, equals, value = word.partition("=")
        found[flag.replace("_", "-")] = value if equals else after
    return found
