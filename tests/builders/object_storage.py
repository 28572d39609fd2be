"""Enough of object storage for an engine to load a model from it: buckets are folders, and any credentials will do.

`python object_storage.py FOLDER ADDRESS PORT` prints a line of JSON for each request: method, path, bytes
asked for, and the name of the key it was signed with.
"""

from __future__ import annotations

import json
import os
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"


def handler(root: Path) -> type[BaseHTTPRequestHandler]:
    """Answers of the buckets below `root`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            # A client that takes the address for a proxy's names the server, too.
            url = urlsplit(self.path)
            bucket, _, key = unquote(url.path).lstrip("/").partition("/")
            if not key:
                prefix = parse_qs(url.query).get("prefix", [""])[0]
                self._answer(200, listing(root / bucket, prefix=prefix), kind="application/xml")
                return
            file = root / bucket / key
            if not file.is_file():
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>", kind="application/xml")
                return
            content = file.read_bytes()
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked is None:
                self._answer(200, content)
                return
            first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
            self._answer(206, content[first : last + 1], part=f"bytes {first}-{last}/{len(content)}")

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, status: int, body: bytes, *, kind: str = "application/octet-stream", part: str = "") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"0"')
            self.send_header("Last-Modified", _MODIFIED)
            if part:
                self.send_header("Content-Range", part)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            signed = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
            told = {
                "method": self.command,
                "path": urlsplit(self.path).path,
                "range": self.headers.get("Range"),
                "key": signed[1] if signed else None,
            }
            # In one call: lines of requests that come side by side must not run into each other.
            os.write(sys.stdout.fileno(), f"{json.dumps(told)}\n".encode())

    return Handler


def listing(bucket: Path, *, prefix: str) -> bytes:
    """ListObjectsV2's answer for all objects below a prefix."""
    found = sorted(path for path in bucket.rglob("*") if path.is_file())
    objects = [
        f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size><ETag>0</ETag>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
        for path in found
        if (key := path.relative_to(bucket).as_posix()).startswith(prefix)
    ]
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{escape(bucket.name)}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(objects)}</KeyCount>"
        f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{''.join(objects)}</ListBucketResult>"
    ).encode()


if __name__ == "__main__":
    with ThreadingHTTPServer((sys.argv[2], int(sys.argv[3])), handler(Path(sys.argv[1]))) as server:
        server.serve_forever()
