"""`inference-fleet engine`: what the operator knows about vLLM releases, and how an installed vLLM differs from it."""

from __future__ import annotations

import dataclasses
import json
from typing import Literal

import click

from inference_fleet.cli.engine_accelerators import accelerators
from inference_fleet.cli.main import EXIT_FAILED, EXIT_OK
from inference_fleet.cli.output_form import output_form
from inference_fleet.cli.suggestions import file_name
from inference_fleet.engine.versions import EngineVersion, engine_version, known_versions

DESCRIBE_SCHEMA = "inference-fleet/engine-describe/v1"
FLAGS_SCHEMA = "inference-fleet/engine-flags/v1"
Form = Literal["table", "json"]
_OUTPUT = output_form("table", "json")


@click.group(name="engine", short_help="Show what the operator knows about vLLM versions and accelerators.")
def command() -> None:
    """Show what the operator knows about vLLM versions and accelerators."""


command.add_command(accelerators)


@command.command(name="flags", short_help="List a release's flags: typed, allowed or denied.")
@click.option(
    "--version", "version", default=None, metavar="VERSION", help="vLLM release. Default: the newest known one."
)
@click.option("--mark", type=click.Choice(["typed", "allowed", "denied"]), help="List only flags with this mark.")
@_OUTPUT
def flags(version: str | None, mark: str | None, output: Form) -> int:
    """List the flags of a vLLM release: those with a field of their own (typed), allowed in extraArgs, or denied."""
    release = engine_version(version or known_versions()[-1])
    if not isinstance(release, EngineVersion):
        raise click.UsageError(f"--version: {release.message} {release.suggestion or ''}".strip())
    chosen = [flag for flag in release.flags.values() if mark is None or flag.mark == mark]
    if output == "json":
        rows = [
            {"flag": flag.flag, "mark": flag.mark, "field": flag.field, "reason": flag.reason, "choices": flag.choices}
            for flag in chosen
        ]
        click.echo(json.dumps({"schemaVersion": FLAGS_SCHEMA, "version": release.version, "flags": rows}, indent=2))
        return EXIT_OK
    width = max((len(flag.flag) for flag in chosen), default=0)
    for flag in chosen:
        about = f"spec.{flag.field}" if flag.field else flag.reason or ""
        click.echo(f"{flag.flag:<{width}}  {flag.mark:<7}  {about}".rstrip())
    return EXIT_OK


@command.command(name="describe", short_help="Compare an installed vLLM with what is known of its release.")
@click.option(
    "--python",
    required=True,
    metavar="PATH",
    shell_complete=file_name,
    help="Python interpreter of an environment that has vLLM.",
)
@_OUTPUT
def describe(python: str, output: Form) -> int:
    """Compare an installed vLLM with what the operator knows of its release.

    Exit status 1 if they differ, or if that Python has no vLLM. Takes up to a minute: vLLM imports slowly.
    """
    from inference_fleet.cli.engine_description import ProbeFailure, difference, probe

    click.echo(f"asking {python} ...", err=True)
    found = probe(python)
    if isinstance(found, ProbeFailure):
        raise click.ClickException(found.message)
    result = difference(found)
    if output == "json":
        fields = dataclasses.asdict(result)
        keys = {"new_flags": "newFlags", "gone_flags": "goneFlags", "changed_flags": "changedFlags"}
        report = {keys.get(key, key): value for key, value in fields.items()}
        click.echo(json.dumps({"schemaVersion": DESCRIBE_SCHEMA, **report}, indent=2))
    else:
        click.echo(f"vLLM {result.version}: {_verdict(result.known, same=result.empty)}")
        for title, names in (("new", result.new_flags), ("gone", result.gone_flags), ("changed", result.changed_flags)):
            for name in names if result.known else ():
                click.echo(f"  {title:<8} --{name.replace('_', '-')}")
    return EXIT_OK if result.empty else EXIT_FAILED


def _verdict(known: bool, *, same: bool) -> str:
    if not known:
        return f"not known to this operator (known: {', '.join(known_versions())})"
    return "the same command line as the operator knows" if same else "differs from what the operator knows"
