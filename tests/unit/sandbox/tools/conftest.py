"""A machine of the tests' own: an empty cache, a PATH with nothing on it, programs that are small scripts."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inference_fleet.sandbox.tools import downloads

WriteProgram = Callable[..., Path]


@pytest.fixture
def program() -> WriteProgram:
    """program(folder, name, script): an executable shell script."""

    def write(folder: Path, name: str, script: str) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture(autouse=True)
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the PATH; the cache is in a temporary folder, and no variable of the real machine is left."""
    for variable in (
        "KUBEBUILDER_ASSETS",
        "GOPROXY",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "all_proxy",
    ):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    downloads._unreachable.cache_clear()
    return folder


@pytest.fixture
def fake_go(bin_folder: Path, program: WriteProgram, tmp_path: Path) -> Path:
    """A `go` that "builds" a script saying its package, and writes one line per build to the file returned."""
    log = tmp_path / "builds"
    program(
        bin_folder,
        "go",
        f"""
        case "$1" in
        env) echo go1.99.0 ;;
        list) echo "go: downloading example.org/a v1.0.0" >&2; echo example.org/a; echo example.org/b ;;
        build)
            echo "$GOFLAGS|$CGO_ENABLED|$*" >> {log}
            echo example.org/a >&2; echo example.org/b >&2
            while [ "$1" != -o ]; do shift; done
            printf '#!/bin/sh\\necho built\\n' > "$2" ;;
        esac""",
    )
    return log


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, bytes]]]:
    """A web server on this machine: its address, and what it serves (path -> content), for the test to fill."""
    files: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", files
        server.shutdown()
        thread.join()
