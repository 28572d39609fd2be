"""How log lines look: one JSON object a line, or for a terminal."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final

_CONSOLE: Final = "%(asctime)s %(levelname)-7s %(message)s  [%(name)s]"


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, and the stack of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(*, form: str, level: str) -> None:
    """Log to standard error. form: "json" or "console"."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_CONSOLE))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These tell of every request and every event.
    for noisy in ("kopf.objects", "kopf.activities", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # Says at length what our own line says in short.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
