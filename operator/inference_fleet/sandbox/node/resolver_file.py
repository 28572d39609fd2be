"""A pod's /etc/resolv.conf.

Not this machine's: its name servers cannot be reached from a pod, and each look-up would wait for them for seconds.
Without a cluster DNS the kubelet names 127.0.0.1, where nothing listens, so that a look-up fails at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

RESOLVER_FILE = "/etc/resolv.conf"


def resolver_text(config: Any) -> str:
    """The file's text for CRI's DNSConfig, which holds what the pod's dnsPolicy and dnsConfig come to."""
    lines = [f"nameserver {server}" for server in config.servers]
    if config.searches:
        lines.append(f"search {' '.join(config.searches)}")
    if config.options:
        lines.append(f"options {' '.join(config.options)}")
    return "".join(f"{line}\n" for line in lines)


def write_resolver_file(folder: Path, *, sandbox: str, config: Any) -> Path:
    """Write the file of one pod; it is `folder`/`sandbox`."""
    folder.mkdir(exist_ok=True)
    path = folder / sandbox
    path.write_text(resolver_text(config), encoding="utf-8")
    return path
