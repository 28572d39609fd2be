"""`inference-fleet completion`: the script that makes the shell complete commands, options and names."""

from __future__ import annotations

import os
import signal
from typing import Final

import click
from click.shell_completion import get_completion_class

from inference_fleet.cli.main import COMPLETION_VARIABLE, PROGRAM, cli
from inference_fleet.cli.suggestions import patience_seconds

# Beyond the cluster's time, for all the rest. What hangs then (a name server, a login helper) is left behind.
SPARE_SECONDS: Final = 8.0
# click's script for fish ends a description at its first comma.
_SPLIT_AT_COMMAS: Final = ('string split "," $completion', 'string split --max 1 "," $completion')


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: source <(inference-fleet completion bash)
    zsh:  source <(inference-fleet completion zsh)      after compinit
    fish: inference-fleet completion fish | source

    Put that line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish to keep it. Names of deployments, namespaces
    and contexts are asked for as they are completed; INFERENCE_FLEET_COMPLETION_SECONDS says how long that may take, if
    not two. With kubectl's own completion, `kubectl inference-fleet` needs nothing more.
    """
    completion = get_completion_class(shell)
    assert completion is not None
    script = completion(cli, {}, PROGRAM, COMPLETION_VARIABLE).source()
    click.echo(script.replace(*_SPLIT_AT_COMMAS) if shell == "fish" else script)


def end_in_time() -> None:
    """Let this process end without a word when Tab has taken too long, whatever it does then."""
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, patience_seconds() + SPARE_SECONDS)
