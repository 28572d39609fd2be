"""`inference-fleet run`: the operator. Its options are the settings model's fields."""

from __future__ import annotations

import asyncio
import types
import typing
from typing import Any

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from inference_fleet.controller.settings import Settings


def _option(name: str, field: FieldInfo) -> click.Option:
    """One setting as an option. Without a value the variable counts, then the default."""
    kind = field.annotation
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(each for each in typing.get_args(kind) if each is not type(None))
    flag = name.replace("_", "-")
    shown = f"{field.description} [{_variable(name)}; default: {_default(field)}]"
    if kind is bool:
        return click.Option([f"--{flag}/--no-{flag}"], default=None, help=shown)
    if typing.get_origin(kind) is typing.Literal:
        return click.Option([f"--{flag}"], type=click.Choice(typing.get_args(kind)), default=None, help=shown)
    value: Any = kind if kind in (int, float) else str
    return click.Option(
        [f"--{flag}"],
        type=value,
        default=None,
        help=shown,
        metavar={int: "INTEGER", float: "NUMBER"}.get(value, "TEXT"),
    )


def _default(field: FieldInfo) -> str:
    return {None: "none", "": "empty", True: "on", False: "off"}.get(field.default, str(field.default))


def _variable(name: str) -> str:
    return f"INFERENCE_FLEET_{name.upper()}"


def _run(**options: Any) -> None:
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        from inference_fleet.api.parse import sentence

        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if not where:
            # Of several settings together; it names them itself.
            raise click.UsageError(sentence(first)) from error
        flag = f"--{where.replace('_', '-')}"
        raise click.UsageError(f"{flag} ({_variable(where)}): {sentence(first)}") from error
    # kopf alone takes half a second to import: not for --help.
    from inference_fleet.adapters.ports import NoCluster
    from inference_fleet.controller.health import CannotServe
    from inference_fleet.controller.lease import LeaseLost
    from inference_fleet.controller.log_format import configure_logging
    from inference_fleet.controller.run import run_operator

    configure_logging(form=settings.log_format, level=settings.log_level)
    try:
        asyncio.run(run_operator(settings))
    except (LeaseLost, CannotServe) as error:
        raise click.ClickException(str(error)) from error
    except NoCluster as error:
        raise click.ClickException(f"no cluster to work for (--kubeconfig): {error}") from error


command = click.Command(
    "run",
    callback=_run,
    params=[_option(name, field) for name, field in Settings.model_fields.items()],
    help="Run the operator until SIGTERM or SIGINT.",
)
