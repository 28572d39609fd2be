"""The command works as a plugin of kubectl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from builders.answering_server import answering_server
from builders.world import World
from inference_fleet.sandbox.tools import silent, tool_path


def test_kubectl_finds_it_and_hands_it_the_kubeconfig(tmp_path: Path) -> None:
    world = World()
    world.settle()
    with answering_server(tmp_path) as server:
        server.holds(world.deployment)
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "KUBECONFIG": str(server.kubeconfig),
        }

        def kubectl(*words: str) -> subprocess.CompletedProcess[str]:
            binary = tool_path("kubectl", progress=silent)
            return subprocess.run(
                [str(binary), *words], capture_output=True, text=True, timeout=60, check=False, env=environment
            )

        explained = kubectl("inference-fleet", "explain", "chat/llama")
        assert explained.returncode == 0, explained.stderr
        assert explained.stdout.startswith("llama serves with 1 replica")
        wrong = kubectl("inference-fleet", "explain")
        assert wrong.returncode == 64
        assert "Usage: kubectl inference-fleet explain" in wrong.stderr
