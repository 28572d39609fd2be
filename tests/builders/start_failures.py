"""Ways in which a start of the real engine fails on a processor, and what a kubelet would keep of each.

Run as a program (PYTHONPATH=tests:operator python -m builders.start_failures [NAME ...]) it makes them fail and writes
tests/data/engine-failures/NAME.txt: a container's termination message, which is what the engine's own processes wrote
into its file, or else the end of the log. Paths and ports of the machine are replaced.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from inference_fleet.engine.failure_log import CONFIGURATION_VARIABLE, TERMINATION_MESSAGE_PATH, failure_logging
from inference_fleet.sandbox.real_engine import ENVIRONMENT, RealEngine, find_real_engine

FOLDER = Path(__file__).resolve().parents[1] / "data" / "engine-failures"
# The kubelet keeps the end of the file; FallbackToLogsOnError: the last 2048 bytes or 80 lines, whichever is less.
FILE_BYTES = 4096
MESSAGE_BYTES = 2048
MESSAGE_LINES = 80
ENDS_WITHIN_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Arguments after `--model`; what to do to a copy of the tiny model; answers of the hub, where it asks one.

    model None: the copy. cheap: it ends before the engine's own process begins.
    """

    arguments: Sequence[str] = ()
    model: str | None = None
    spoil: Callable[[Path], None] = lambda _folder: None
    hub: tuple[int, Mapping[str, str]] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    cheap: bool = True


def change_config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        config = json.loads(file.read_text(encoding="utf-8")) | changes
        file.write_text(
            json.dumps({key: value for key, value in config.items() if value is not None}), encoding="utf-8"
        )

    return change


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def take(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names] and None


HUB_MODEL = "acme/llama-private"
FAILURES: Mapping[str, Failure] = {
    "unknown-flag": Failure(arguments=("--no-such-flag=1",)),
    "bad-value": Failure(arguments=("--max-num-seqs=many",)),
    "length-beyond-the-model": Failure(arguments=("--max-model-len=1000000",)),
    "unknown-quantization": Failure(arguments=("--quantization=awq",)),
    "heads-not-divisible": Failure(arguments=("--tensor-parallel-size=3",)),
    "unsupported-architecture": Failure(spoil=change_config(architectures=["NoSuchForCausalLM"])),
    "unknown-model-type": Failure(spoil=change_config(model_type="no-such-type", architectures=["NoSuchForCausalLM"])),
    "remote-code": Failure(
        spoil=change_config(model_type="own", auto_map={"AutoConfig": "configuration_own.OwnConfig"}),
    ),
    "no-config": Failure(spoil=take("config.json")),
    "no-folder": Failure(model="/models/target"),
    "hub-not-found": Failure(model=HUB_MODEL, hub=(404, {"X-Error-Code": "RepoNotFound"})),
    "hub-revision-not-found": Failure(
        model=HUB_MODEL, arguments=("--revision=v9",), hub=(404, {"X-Error-Code": "RevisionNotFound"})
    ),
    "hub-gated": Failure(model=HUB_MODEL, hub=(403, {"X-Error-Code": "GatedRepo"})),
    "hub-wrong-token": Failure(
        model=HUB_MODEL, hub=(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
    ),
    "hub-throttled": Failure(model=HUB_MODEL, hub=(429, {"Retry-After": "1"})),
    "hub-down": Failure(model=HUB_MODEL, hub=(503, {})),
    "hub-unreachable": Failure(
        model=HUB_MODEL, environment={"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}
    ),
    "cache-too-small": Failure(
        spoil=change_config(max_position_embeddings=4_000_000),
        arguments=("--max-model-len=3000000", "--max-num-seqs=1", "--enforce-eager"),
        cheap=False,
    ),
    "no-host-memory": Failure(
        spoil=change_config(max_position_embeddings=10**10),
        arguments=("--max-model-len=10000000000", "--max-num-seqs=128"),
        cheap=False,
    ),
    "no-weights": Failure(spoil=take("model.safetensors"), cheap=False),
    "cut-weights": Failure(spoil=cut_weights, cheap=False),
    "other-shape": Failure(spoil=change_config(hidden_size=256, head_dim=None), cheap=False),
    "no-tokenizer": Failure(spoil=take("tokenizer.json", "tokenizer_config.json")),
}


def failing_start(name: str, *, engine: RealEngine, folder: Path) -> str:
    """Run it; the termination message. AssertionError if it does not end by itself with an error."""
    failure = FAILURES[name]
    model = folder / "model"
    shutil.copytree(engine.model, model)
    failure.spoil(model)
    with contextlib.ExitStack() as stack:
        kept, logging = folder / "termination-log", folder / "logging.json"
        logging.write_text((failure_logging(()) or "").replace(TERMINATION_MESSAGE_PATH, str(kept)), encoding="utf-8")
        environment = {**os.environ, **ENVIRONMENT, "HF_HOME": str(folder / "cache"), **failure.environment}
        environment[CONFIGURATION_VARIABLE] = str(logging)
        if failure.hub is not None:
            environment |= {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": stack.enter_context(answering(*failure.hub))}
        arguments = ("--model", failure.model or str(model), "--host=127.0.0.1", "--port=0", *failure.arguments)
        done = subprocess.run(
            engine.command(arguments),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ENDS_WITHIN_SECONDS,
            check=False,
        )
    assert done.returncode != 0, name
    return plain(kept_by_kubelet(kept.read_bytes() if kept.exists() else b"", log=done.stdout), folder=folder)


def kept_by_kubelet(file: bytes, *, log: bytes) -> str:
    if file:
        return file[-FILE_BYTES:].decode(errors="replace")
    lines = log[-MESSAGE_BYTES:].decode(errors="replace").splitlines()
    return "\n".join(lines[-MESSAGE_LINES:])


def plain(text: str, *, folder: Path) -> str:
    text = text.replace(str(folder), "/work")
    text = re.sub(r"\S*/site-packages/", "/venv/", text)
    text = re.sub(r"127\.0\.0\.1:\d{4,5}", "127.0.0.1:PORT", text)
    return re.sub(r"pid=\d+", "pid=1", text)


@contextlib.contextmanager
def answering(status: int, headers: Mapping[str, str]) -> Iterator[str]:
    """A hub that answers everything so; its address."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": "0", "X-Request-Id": "request", **headers}.items():
                self.send_header(key, value)
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815  (the server's names)

        def log_message(self, format: str, *args: object) -> None:
            del format, args

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def main(names: Sequence[str]) -> None:
    engine = find_real_engine()
    assert engine is not None, "no real engine here: run `make setup-engine`"
    FOLDER.mkdir(exist_ok=True)
    for name in names or FAILURES:
        with tempfile.TemporaryDirectory() as folder:
            message = failing_start(name, engine=engine, folder=Path(folder))
        (FOLDER / f"{name}.txt").write_text(message + "\n", encoding="utf-8")
        print(f"{name}: {len(message)} characters", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
