"""`inference-fleet completion`: the script that makes the shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from inference_fleet.cli.main import cli

_PROGRAM = "inference-fleet"
_VARIABLE = "_INFERENCE_FLEET_COMPLETE"


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    For bash: source <(inference-fleet completion bash)
    """
    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(cli, {}, _PROGRAM, _VARIABLE).source())
