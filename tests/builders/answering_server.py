"""A server that gives recorded answers to GET requests, with the kubeconfig that leads to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = tuple[int, Mapping[str, Any] | str]
DEPLOYMENTS = "/apis/inferencefleet.io/v1alpha1/inferencedeployments"


@dataclass
class AnsweringServer:
    """answers: path without query -> status and object; everything else is a 404 as an API server words it."""

    url: str
    kubeconfig: Path
    answers: dict[str, Answer]

    def holds(self, *deployments: Mapping[str, Any]) -> None:
        """Answer as a cluster that has these InferenceDeployments."""
        self.answers[DEPLOYMENTS] = (200, {"metadata": {"resourceVersion": "1"}, "items": list(deployments)})
        for each in deployments:
            namespace, name = each["metadata"]["namespace"], each["metadata"]["name"]
            root = DEPLOYMENTS.replace("inferencedeployments", f"namespaces/{namespace}/inferencedeployments")
            of_namespace = [other for other in deployments if other["metadata"]["namespace"] == namespace]
            self.answers[root] = (200, {"metadata": {"resourceVersion": "1"}, "items": of_namespace})
            self.answers[f"{root}/{name}"] = (200, each)


def refused(status: int, reason: str, message: str) -> Answer:
    """An error as an API server words it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return status, {**body, "code": status}


@contextmanager
def answering_server(folder: Path) -> Iterator[AnsweringServer]:
    """Serve on loopback until the block ends."""
    answers: dict[str, Answer] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            missing = refused(404, "NotFound", "the server could not find the requested resource")
            status, body = answers.get(self.path.partition("?")[0], missing)
            # A text is a log.
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield AnsweringServer(url, _kubeconfig(folder, url), answers)
        finally:
            server.shutdown()
            thread.join()


def _kubeconfig(folder: Path, url: str) -> Path:
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
