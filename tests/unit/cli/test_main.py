"""The command line's frame: exit statuses, help, and help that imports nothing heavy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from inference_fleet.cli import main as frame


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["completion", "bash"]])
def test_asking_about_the_program_is_not_an_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(argv) == frame.EXIT_OK
    assert capsys.readouterr().out


@pytest.mark.parametrize("argv", [["no-such-command"], ["--no-such-option"], ["completion", "cmd.exe"]])
def test_wrong_usage_exits_with_64(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(argv) == frame.EXIT_USAGE
    assert "Usage" in capsys.readouterr().err


def test_misspelt_command_gets_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert frame.run(["complet"]) == frame.EXIT_USAGE
    assert "Did you mean 'completion'?" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    # kopf alone takes 0.3 s to import; the help page has 0.5 s in all.
    heavy = "kopf kubernetes pydantic aiohttp prometheus_api_client rich numpy yaml grpc"
    code = (
        "import sys; from inference_fleet.cli.main import run; run(['--help'])\n"
        f"print([m for m in {heavy.split()!r} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_every_command_in_the_help_page_loads() -> None:
    context = click.Context(frame.cli)
    names = frame.cli.list_commands(context)
    assert "completion" in names
    for name in names:
        assert frame.cli.get_command(context, name) is not None, name


def options(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from options(inner, click.Context(inner, info_name=name, parent=context))
    yield from ((context.command_path, each) for each in command.params if isinstance(each, click.Option))


def test_every_option_says_what_it_is_in_words() -> None:
    found = list(options(frame.cli, click.Context(frame.cli, info_name="inference-fleet")))
    assert len(found) > 60
    wordless = [f"{path} {option.opts}" for path, option in found if not option.help]
    # Click's own name of a bounded number.
    bare = [
        f"{path} {option.opts}" for path, option in found if not option.is_flag and _shown(option).endswith("RANGE")
    ]
    assert (wordless, bare) == ([], [])


def _shown(option: click.Option) -> str:
    return str(option.make_metavar(click.Context(frame.cli)))
