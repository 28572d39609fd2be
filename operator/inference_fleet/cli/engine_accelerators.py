"""`inference-fleet engine accelerators`: the accelerator classes that are built in, with the source of every figure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import click

from inference_fleet.cli.main import EXIT_OK

ACCELERATORS_SCHEMA = "inference-fleet/accelerators/v1"
Form = Literal["table", "json", "yaml"]


@click.command(name="accelerators", short_help="List the built-in accelerators.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Output format. yaml: AcceleratorClass objects for kubectl; json: the figures with their sources.",
)
def accelerators(output: Form) -> int:
    """List the built-in accelerators: memory, bandwidth, dense peaks.

    They have no prices, node labels or tolerations; add these in AcceleratorClasses of your own.
    """
    from inference_fleet.cli.text_table import columns_of_terminal, show
    from inference_fleet.engine.catalogue import accelerator_sources, built_in_accelerators

    classes, sources = built_in_accelerators(), accelerator_sources()
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump_all([dict(each) for each in classes.values()], sort_keys=False), nl=False)
    elif output == "json":
        rows = [{"name": name, **_figures(each["spec"]), **sources[name]} for name, each in classes.items()]
        click.echo(json.dumps({"schemaVersion": ACCELERATORS_SCHEMA, "accelerators": rows}, indent=2))
    else:
        show("\n".join(_lines(classes, width=columns_of_terminal())))
    return EXIT_OK


def _figures(spec: Mapping[str, Any]) -> dict[str, Any]:
    from inference_fleet.api.accelerator_class import AcceleratorClassSpec

    parsed = AcceleratorClassSpec.model_validate(spec)
    performance = parsed.performance
    return {
        "platform": parsed.platform,
        "architecture": parsed.architecture,
        "deviceMemoryBytes": parsed.device_memory_bytes,
        "devicesPerNode": parsed.devices_per_node,
        "memoryBandwidthGigabytesPerSecond": (
            performance.memory_bandwidth_gigabytes_per_second if performance else None
        ),
        "denseTeraflops": dict((performance.dense_teraflops if performance else None) or {}),
    }


def _lines(classes: Mapping[str, Mapping[str, Any]], *, width: int) -> list[str]:
    from inference_fleet.cli.text_table import Column, table

    columns = (
        Column(title="NAME"),
        Column(title="PLATFORM"),
        Column(title="ARCHITECTURE"),
        Column(title="GIB", right=True),
        Column(title="GB/S", right=True),
        Column(title="A NODE", right=True),
        Column(title="DENSE TERAFLOPS", yields=True),
    )
    rows = []
    for name, each in classes.items():
        found = _figures(each["spec"])
        peaks = ", ".join(f"{kind} {peak:,}" for kind, peak in found["denseTeraflops"].items())
        bandwidth = found["memoryBandwidthGigabytesPerSecond"]
        rows.append(
            (
                name,
                found["platform"],
                found["architecture"],
                f"{found['deviceMemoryBytes'] / 2**30:.1f}",
                f"{bandwidth:,}" if bandwidth else "-",
                str(found["devicesPerNode"]),
                peaks or "-",
            )
        )
    return table(columns, rows, width=width)
