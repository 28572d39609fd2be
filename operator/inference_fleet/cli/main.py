"""The `inference-fleet` command: one entry, every subcommand imported only when it is called."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from inference_fleet import __version__

PROGRAM = "inference-fleet"
# Set by the shell while it completes; click's own name for it.
COMPLETION_VARIABLE = "_INFERENCE_FLEET_COMPLETE"

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_REFUSED = 2
EXIT_GOAL_MISSED = 3
EXIT_USAGE = 64
EXIT_INTERRUPTED = 130

# Name -> what it does. The help page needs no module but this one, so that it answers at once.
COMMANDS: dict[str, str] = {
    "run": "Run the operator.",
    "plan": "Check an InferenceDeployment, and show what it would hold and cost. No cluster needed.",
    "render": "Print the objects the operator would create. No cluster needed.",
    "explain": "Say why a deployment has this many replicas, or why it is not ready.",
    "top": "Watch all deployments live.",
    "status": "List all deployments with their conditions.",
    "engine": "Show what the operator knows about vLLM versions and accelerators.",
    "simulate": "Replay a trace against a simulated fleet.",
    "compare": "Compare scaling policies over traces.",
    "sandbox": "Run a real control plane and kubelet on this machine, without containers or GPUs.",
    "demo": "Serve, load and scale a model in a sandbox, and report.",
    "completion": "Print the shell completion script.",
}


class LazyGroup(click.Group):
    """A group whose commands live in `inference_fleet.cli.<name>` as `command`, imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if _module_exists(name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        try:
            module = importlib.import_module(f"inference_fleet.cli.{cmd_name}")
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing.startswith("inference_fleet"):
                raise
            raise click.ClickException(_missing_extra(cmd_name, missing)) from error
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1) if args else []
            if near:
                raise click.UsageError(f"{error.message} Did you mean '{near[0]}'?", ctx=error.ctx) from error
            raise

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        # Click's own way imports every command for its help.
        found = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name]) for name in found] + click.Command.shell_complete(
            self, ctx, incomplete
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


def _module_exists(name: str) -> bool:
    return (Path(__file__).parent / f"{name}.py").exists()


def _missing_extra(command: str, module: str) -> str:
    extra = {"simulate": "simulation", "compare": "simulation", "sandbox": "sandbox", "demo": "sandbox"}.get(command)
    hint = f" Install it with: pip install 'inference-fleet-operator[{extra}]'" if extra else ""
    return f"'{command}' needs the Python module '{module}', which is not installed.{hint}"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit status: 0 ok, 1 failed, 2 refused spec, 3 a stated goal was missed, 64 wrong usage, 130 interrupted.",
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Run language models on Kubernetes with vLLM, checked before they start and scaled to their objectives."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with the documented status."""
    # Looking for plugins of pydantic, which there are none of, reads the metadata of everything that is installed.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    if COMPLETION_VARIABLE in os.environ:
        _complete()
    sys.exit(run(argv))


def _complete() -> NoReturn:
    """Answer the shell that asks for completions. What goes wrong is not told: it would stand in the user's line."""
    from inference_fleet.cli.completion import end_in_time

    end_in_time()
    with contextlib.suppress(click.ClickException, click.Abort):
        cli.main(args=[], prog_name=PROGRAM, complete_var=COMPLETION_VARIABLE, standalone_mode=False)
    sys.exit(EXIT_OK)


def run(argv: Sequence[str] | None = None, **extra: Any) -> int:
    """Run the command line; return the exit status instead of exiting."""
    program = Path(sys.argv[0]).name
    if program.startswith("kubectl-"):
        program = "kubectl inference-fleet"
    try:
        result = cli.main(
            args=list(argv) if argv is not None else None,
            prog_name=program if argv is None else PROGRAM,
            standalone_mode=False,
            **extra,
        )
    except click.UsageError as error:
        error.show()
        return EXIT_USAGE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except click.exceptions.Exit as error:
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: that is its right, not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return result if isinstance(result, int) else EXIT_OK
