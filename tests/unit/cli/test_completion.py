"""Tab offers names from the cluster, the kubeconfig and this machine; it never waits long and never complains."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders.answering_server import DEPLOYMENTS, AnsweringServer, answering_server, refused
from builders.world import World
from inference_fleet.cli.kubectl_completion import kubectl_answer
from inference_fleet.cli.main import EXIT_OK, run
from inference_fleet.cli.simulation_options import POLICY_NAMES, SHAPE_NAMES, TUNED_NAMES
from inference_fleet.cli.suggestions import PATIENCE_VARIABLE, USUAL_PATIENCE_SECONDS, patience_seconds

# Where all tests run at once even a local server takes its time.
PATIENT = "60"
NO_RIGHTS = refused(403, "Forbidden", 'inferencedeployments is forbidden: User "eve" cannot list')
ROOT = Path(__file__).resolve().parents[3]
PROGRAM = str(Path(sys.executable).parent / "inference-fleet")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweringServer]:
    with answering_server(tmp_path) as served:
        monkeypatch.setenv("KUBECONFIG", str(served.kubeconfig))
        monkeypatch.setenv(PATIENCE_VARIABLE, PATIENT)
        objects = []
        for namespace, name in (("chat", "llama"), ("chat", "qwen"), ("code", "coder")):
            world = World()
            world.deployment["metadata"] |= {"namespace": namespace, "name": name}
            objects.append(world.deployment)
        served.holds(*objects)
        yield served


def offered(*words: str, by: AnsweringServer | None = None) -> list[str]:
    """Values only; the directive must say that no file name will do."""
    # The client reads KUBECONFIG once in a process; the option is read each time.
    command, *rest = words
    *lines, directive = kubectl_answer([command, *_login(by), *rest]).splitlines()
    assert directive == ":4"
    return [line.partition("\t")[0] for line in lines]


def _login(server: AnsweringServer | None) -> list[str]:
    return [] if server is None else ["--kubeconfig", str(server.kubeconfig)]


def named(server: AnsweringServer, **namespaces: str | None) -> None:
    """Contexts of these names and namespaces; the first is the current one."""
    content = json.loads(server.kubeconfig.read_text(encoding="utf-8"))
    content["contexts"] = [
        {"name": name, "context": {"cluster": "c", "user": "u", **({"namespace": where} if where else {})}}
        for name, where in namespaces.items()
    ]
    content["current-context"] = next(iter(namespaces))
    server.kubeconfig.write_text(json.dumps(content), encoding="utf-8")


def test_kubectl_finds_the_program_beside_the_plugin_by_its_name() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    (plugin,) = (name for name in scripts if name.startswith("kubectl-"))
    module, _, function = scripts[plugin.replace("kubectl-", "kubectl_complete-")].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_commands_and_options_come_with_their_help() -> None:
    assert kubectl_answer(["sta"]).splitlines()[0] == "status\tList all deployments with their conditions."
    assert offered("top", "--on") == ["--once"]


def test_deployments_are_offered_with_their_namespace(server: AnsweringServer) -> None:
    assert offered("explain", "", by=server) == ["chat/llama", "chat/qwen", "code/coder"]
    assert offered("explain", "chat/q", by=server) == ["chat/qwen"]
    assert offered("explain", "chat/llama", "", by=server) == []


def test_with_a_namespace_the_name_alone_is_offered(server: AnsweringServer) -> None:
    assert offered("explain", "-n", "chat", "", by=server) == ["llama", "qwen"]


def test_who_may_look_into_one_namespace_only_is_offered_what_is_there(server: AnsweringServer) -> None:
    server.answers[DEPLOYMENTS] = NO_RIGHTS
    named(server, mine="code")
    assert offered("explain", "", by=server) == ["code/coder"]
    assert offered("status", "-n", "", by=server) == ["code"]


def test_namespaces_are_those_with_deployments(server: AnsweringServer) -> None:
    assert offered("top", "--namespace", "", by=server) == ["chat", "code"]
    assert offered("status", "-n", "co", by=server) == ["code"]


def test_without_any_rights_the_kubeconfigs_namespaces_are_offered(server: AnsweringServer) -> None:
    server.answers.clear()
    server.answers[DEPLOYMENTS] = NO_RIGHTS
    named(server, a="chat", b="elsewhere", c=None)
    assert offered("status", "-n", "", by=server) == ["chat", "elsewhere"]


def test_contexts_are_read_from_every_file_that_kubectl_reads(
    server: AnsweringServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_text("contexts: [{name: prod, context: {}}, {name: x, context: {}}, nonsense]", encoding="utf-8")
    broken = tmp_path / "broken"
    broken.write_text(":\t{", encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(map(str, (server.kubeconfig, broken, tmp_path / "none", other))))
    assert offered("status", "--context", "") == ["prod", "x"]
    assert offered("status", "--kubeconfig", str(other), "--context", "p") == ["prod"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "contexts: 3",
        "contexts: {a: b}",
        "contexts: [3, {name: x, context: 3}]",
        "current-context: []",
        "\x00",
    ],
)
def test_a_kubeconfig_of_any_form_is_no_error(tmp_path: Path, content: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content, encoding="utf-8")
    assert offered("status", "--kubeconfig", str(path), "--context", "y") == []
    assert offered("explain", "--kubeconfig", str(path), "") == []
    assert run(["explain", "llama", "--kubeconfig", str(path)]) != EXIT_OK
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_built_in_is_offered_without_a_cluster(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    spec = "{apiVersion: inferencefleet.io/v1alpha1, kind: AcceleratorClass, metadata: {name: nvidia-own}, spec: {}}"
    own.write_text(spec, encoding="utf-8")
    assert "nvidia-l40s" in offered("simulate", "--accelerator", "nvidia-l")
    assert "nvidia-own" in offered("simulate", "-f", str(own), "--accelerator", "nvidia-")
    assert offered("simulate", "-f", str(tmp_path / "none"), "--accelerator", "nvidia-own") == []
    assert offered("compare", "--policy", "hpa") == ["hpa-concurrency", "hpa-concurrency-tuned"]
    assert offered("simulate", "--shape", "flash") == ["flash-crowd"]


def test_policies_and_shapes_are_those_of_the_laboratory() -> None:
    from inference_fleet.simulation.batch import known_policy
    from inference_fleet.simulation.policies.catalogue import POLICIES, TUNED_SUFFIX
    from inference_fleet.simulation.synthetic import SHAPES

    assert list(POLICIES) == list(POLICY_NAMES)
    assert {f"{name}{TUNED_SUFFIX}" for name in POLICIES if known_policy(f"{name}{TUNED_SUFFIX}")} == set(TUNED_NAMES)
    assert list(SHAPES) == list(SHAPE_NAMES)


@pytest.mark.parametrize("option", [("plan", "-f"), ("render", "--accelerators"), ("simulate", "--trace")])
def test_files_are_left_to_the_shell(option: tuple[str, str]) -> None:
    assert kubectl_answer([*option, ""]) == ":0"


@pytest.mark.parametrize(
    "words",
    [["no-such", ""], ["explain", "--no-such", ""], ["sandbox", "no-such", ""], ["demo", "--duration", "x", ""]],
)
def test_a_line_that_makes_no_sense_is_no_error(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    kubectl_answer(words)
    assert capfd.readouterr().err == ""


def test_no_kubeconfig_and_no_cluster_are_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert offered("explain", "") == []
    with answering_server(tmp_path) as gone:
        pass
    assert offered("explain", "", by=gone) == []
    assert capfd.readouterr() == ("", "")


def test_a_cluster_that_does_not_answer_is_not_waited_for(
    server: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "0.2")
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        content = json.loads(server.kubeconfig.read_text(encoding="utf-8"))
        content["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        server.kubeconfig.write_text(json.dumps(content), encoding="utf-8")
        assert offered("explain", "") == []


def asked(shell: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What the script of a shell calls."""
    environment = {
        **os.environ,
        "_INFERENCE_FLEET_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(("inference-fleet", *words)),
        # Fish hands over the unfinished word, the others its place.
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
    }
    return subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("shell", "answer"),
    [("bash", ["plain,chat/llama"]), ("zsh", ["plain", "chat/llama", "_"]), ("fish", ["plain,chat/llama"])],
)
def test_every_shell_is_answered_in_its_own_way(server: AnsweringServer, shell: str, answer: list[str]) -> None:
    done = asked(shell, "explain", "chat/l")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "\n".join(answer) + "\n"


def test_bash_completes_with_the_script_that_is_printed(server: AnsweringServer) -> None:
    script = (
        f"source <('{PROGRAM}' completion bash); COMP_WORDS=('{PROGRAM}' explain code/); COMP_CWORD=2;"
        f" _inference_fleet_completion '{PROGRAM}'; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("code/coder\n", "")


def test_fish_shows_a_description_to_its_end() -> None:
    line = asked("fish", "sandbox", "ex").stdout.rstrip("\n")
    assert line == "plain,exec\tRun a command inside the sandbox, where pods can be reached."
    script = subprocess.run([PROGRAM, "completion", "fish"], capture_output=True, text=True, check=True).stdout
    assert 'string split --max 1 "," $completion' in script


def test_the_shell_reads_no_error() -> None:
    done = asked("bash", "explain", "--no-such", "")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_patience_is_two_seconds_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert patience_seconds() == USUAL_PATIENCE_SECONDS
    monkeypatch.setenv(PATIENCE_VARIABLE, "soon")
    assert patience_seconds() == USUAL_PATIENCE_SECONDS


def test_whatever_hangs_ends_without_a_word() -> None:
    code = (
        "import socket; from inference_fleet.cli import completion\n"
        "completion.SPARE_SECONDS = 0.0; completion.end_in_time(); socket.create_server(('127.0.0.1', 0)).accept()"
    )
    environment = {**os.environ, PATIENCE_VARIABLE: "0.1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
