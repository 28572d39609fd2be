"""An adapter of external metrics in forty lines: every metric has the value that stands in a file.

`python external_metrics.py ADDRESS PORT CERTIFICATE KEY FILE` serves external.metrics.k8s.io/v1beta1 to the API server.
"""

from __future__ import annotations

import json
import ssl
import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

GROUP_VERSION = "external.metrics.k8s.io/v1beta1"


def answer(path: str, value: str) -> dict[str, Any]:
    """The list of resources, or one metric's value (…/namespaces/NAMESPACE/METRIC)."""
    parts = path.strip("/").split("/")
    if len(parts) < 6:
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": []}
    item = {
        "metricName": parts[5],
        "metricLabels": {},
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "value": value,
    }
    return {"kind": "ExternalMetricValueList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": [item]}


def serve(address: str, port: int, certificate: str, key: str, file: str) -> None:
    """Answer until ended."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answer(urlsplit(self.path).path, Path(file).read_text(encoding="utf-8").strip())).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer((address, port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), *sys.argv[3:6])
