"""The options that `simulate` and `compare` share, and the scenarios they describe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from inference_fleet.cli import suggestions
from inference_fleet.cli.output_form import output_form
from inference_fleet.cli.simulation_offer import Offer, offer_of

Function = TypeVar("Function", bound=Callable[..., Any])
# Named here too, so that help and completion need no laboratory; a test holds them to it.
POLICY_NAMES: Final = (
    "fleet",
    "static",
    "hpa-concurrency",
    "keda-queue",
    "knative-kpa",
    "aibrix-apa",
    "llm-d-slo-aware",
    "llm-d-token-aware",
    "wva-v2",
    "dynamo-planner",
)
TUNED_NAMES: Final = tuple(f"{name}-tuned" for name in POLICY_NAMES if name != "fleet")
SHAPE_NAMES: Final = (
    "chat-steady",
    "chat-morning",
    "chat-bursts",
    "code-bursts",
    "reasoning",
    "flash-crowd",
    "chat-days",
    "chat-weeks",
    "daily-crowd",
    "llm-d-ramp",
)
ENGINES = ("llama-8b-l4", "llama-8b-a100", "llama-8b-2xh100", "llama-70b-4xh100", "llama-70b-4xl4", "qwen-32b-2xh100")


def _from_file(context: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    """A scenario file sets what the command line leaves out."""
    if value is None:
        return
    import yaml

    try:
        said = yaml.safe_load(value.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"{value}: cannot be read: {error}") from error
    names = {option.name: option for option in context.command.params}
    if not isinstance(said, Mapping):
        raise click.ClickException(f"{value}: is not a mapping of options to values, such as `rate-scale: 2`")
    chosen = {str(key).replace("-", "_"): each for key, each in said.items()}
    unknown = sorted(set(chosen) - {"traces" if name == "trace" else str(name) for name in names} - {"trace"})
    if unknown:
        raise click.ClickException(f"{value}: unknown option {unknown[0]!r}")
    if "trace" in chosen:
        traces = chosen.pop("trace")
        chosen["traces"] = [traces] if isinstance(traces, str) else traces
    context.default_map = {**(context.default_map or {}), **chosen}


def _into_a_folder(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path | None:
    """Said before the runs, which may take an hour."""
    if value is not None and not value.absolute().parent.is_dir():
        raise click.BadParameter(f"there is no folder {value.parent}")
    return value


def _positive(flag: str, default: float, **settings: Any) -> Callable[[Function], Function]:
    kind = click.FloatRange(min=0, min_open=True)
    return click.option(flag, type=kind, default=default, show_default=True, **settings)


_OPTIONS = (
    click.option(
        "-f",
        "--file",
        metavar="FILE",
        shell_complete=suggestions.file_name,
        help="InferenceDeployment whose objectives, limits and variants are used.",
    ),
    click.option(
        "--trace",
        "traces",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Trace: a CSV file with arrival_s,input_tokens,output_tokens, a trace of Azure, BurstGPT or Mooncake (.gz"
        " too), or a folder of ServeGen's client tables. Repeatable.",
    ),
    click.option("--join", is_flag=True, help="Join the traces, one after the other, into one."),
    click.option(
        "--shape",
        "shapes",
        multiple=True,
        metavar="SHAPE",
        shell_complete=suggestions.one_of(SHAPE_NAMES),
        help=f"Synthetic traffic instead of a trace, by default chat-steady: {', '.join(SHAPE_NAMES)}. Repeatable.",
    ),
    click.option(
        "--scenario",
        type=click.Path(path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_from_file,
        help="YAML file with these options, such as `rate-scale: 2`.",
    ),
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=ENGINES[0],
        show_default=True,
        help="Simulated engine, without -f.",
    ),
    _positive("--first-token", 2.5, metavar="S", help="Objective without -f: seconds to the first token."),
    _positive("--pace", 0.2, metavar="S", help="Objective without -f: mean seconds per token after the first."),
    click.option(
        "--target",
        type=click.FloatRange(min=0, max=100, max_open=True),
        default=99.0,
        show_default=True,
        metavar="PERCENT",
        help="Target without -f: percentage of requests that must meet both objectives.",
    ),
    click.option(
        "--window-hours",
        type=click.IntRange(min=1, max=24),
        default=24,
        show_default=True,
        metavar="N",
        help="Window without -f: the target is kept in every N hours.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of everything random."),
    click.option(
        "--seeds",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Number of seeds to run, beginning with --seed.",
    ),
    _positive("--rate-scale", 1.0, metavar="X", help="Multiplies the load of the trace."),
    click.option(
        "--duration", type=click.FloatRange(min=60), metavar="S", help="Use only the first seconds of a trace."
    ),
    click.option(
        "--cold-start",
        type=click.FloatRange(min=0),
        default=120.0,
        show_default=True,
        metavar="S",
        help="Mean time from a pod's creation to readiness, seconds.",
    ),
    click.option(
        "--cold-start-cv",
        type=click.FloatRange(min=0),
        default=0.25,
        show_default=True,
        metavar="X",
        help="Coefficient of variation of that time (log-normal).",
    ),
    click.option(
        "--routing",
        type=click.Choice(["least-outstanding", "random"]),
        default="least-outstanding",
        show_default=True,
        help="How requests are routed to replicas.",
    ),
    click.option(
        "--model-error",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        metavar="PERCENT",
        help="How much slower engines are than the scaler's estimate at the start.",
    ),
    click.option(
        "--min", "minimum", type=click.IntRange(min=1), metavar="N", help="Fewest replicas. [default: that of -f, or 1]"
    ),
    click.option(
        "--max", "maximum", type=click.IntRange(min=1), metavar="N", help="Most replicas. [default: that of -f, or 64]"
    ),
    click.option(
        "--start",
        type=click.IntRange(min=0),
        default=6,
        show_default=True,
        metavar="N",
        help="Ready replicas at the start.",
    ),
    click.option(
        "--jobs", type=click.IntRange(min=1), metavar="N", help="Number of local processes. [default: one per CPU]"
    ),
    click.option("--dask", metavar="ADDRESS", help="Address of the scheduler of a Dask cluster to run on instead."),
    click.option(
        "--report",
        type=click.Path(path_type=Path, dir_okay=False, writable=True),
        callback=_into_a_folder,
        help="File for an HTML page with plots.",
    ),
    output_form("table", "json"),
)


def scenario_options(function: Function) -> Function:
    """All of them, in their order."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def tell_of_the_wait() -> None:
    """To a person who watches: loading the laboratory and reading traffic take seconds before the first bar."""
    if sys.stderr.isatty():
        click.echo("reading traffic...", err=True)


@dataclass(frozen=True)
class Chosen:
    """The scenario options' values, by their own names."""

    options: Mapping[str, Any]
    offer: Offer | None = None

    def scenarios(self) -> list[Any]:
        """One scenario per trace and seed. Raises ClickException for files that cannot be used."""
        from dataclasses import replace

        from inference_fleet.simulation.scenario import Workload
        from inference_fleet.simulation.synthetic import DAY, SUITE, trace_class
        from inference_fleet.simulation.traces import in_sequence

        options = self.options
        found = []
        for seed in range(options["seed"], options["seed"] + options["seeds"]):
            workloads: list[Workload] = [self._read(path, seed) for path in options["traces"]]
            if options["join"] and workloads:
                workloads = [in_sequence(workloads, period_seconds=DAY)]
            names = options["shapes"] or ([] if workloads else [SUITE[0].name])
            workloads += [self._generated(name, seed) for name in names]
            for workload in workloads:
                base = self._base(workload, seed)
                found.append(replace(base, trace_class=trace_class(workload.arrivals)))
        return found

    def _read(self, path: Path, seed: int) -> Any:
        from inference_fleet.simulation.servegen import BadTable, read_servegen
        from inference_fleet.simulation.traces import TraceRefusal, read_workload

        if not path.exists():
            raise click.UsageError(f"{path}: there is no such file")
        if path.is_dir():
            # Millions of requests an hour stand in these tables: only what is wanted of them is drawn.
            end = self.options["duration"] or float("inf")
            try:
                return read_servegen(path, scale=self.options["rate_scale"], seed=seed, end=end)
            except BadTable as error:
                raise click.ClickException(str(error)) from error
        workload = read_workload(path)
        if isinstance(workload, TraceRefusal):
            raise click.ClickException(str(workload))
        if seed == self.options["seed"]:
            for remark in workload.remarks:
                click.echo(f"{path}: {remark}", err=True)
        return self._fitted(workload, seed)

    def _generated(self, name: str, seed: int) -> Any:
        from inference_fleet.simulation.synthetic import SHAPES, generate

        if name not in SHAPES:
            raise click.UsageError(f"--shape {name}: is none of {', '.join(SHAPES)}")
        return self._fitted(generate(SHAPES[name], seed=seed), seed)

    def _fitted(self, workload: Any, seed: int) -> Any:
        from inference_fleet.simulation.traces import scaled, window

        duration = self.options["duration"]
        if duration is not None:
            workload = window(workload, start_seconds=0.0, duration_seconds=duration)
        if not workload.arrivals:
            raise click.ClickException(f"{workload.name}: no request in the first {duration:.0f} s")
        return scaled(workload, self.options["rate_scale"], seed=seed)

    def _base(self, workload: Any, seed: int) -> Any:
        from inference_fleet.simulation import scenario
        from inference_fleet.simulation.fleet import FleetSettings, Routing, VariantModel

        options = self.options
        start_of_class = {"cold_start_seconds": options["cold_start"], "cold_start_cv": options["cold_start_cv"]}
        if options["file"] is not None:
            offer = self.offer or offer_of(options["file"])
            limits = offer.limits
            variants = tuple(
                VariantModel(name=name, engine=engine, cost_per_hour=cost or 1.0, **start_of_class)
                for name, engine, cost in offer.engines()
            )
            objectives, unit = limits.objectives, offer.cost_unit
            bounds = (limits.min_replicas, limits.max_replicas)
        else:
            engine = scenario.ENGINES[options["engine"]]
            variants = (VariantModel(name=options["engine"], engine=engine, **start_of_class),)
            unit = scenario.REPLICA_HOURS
            objectives = scenario.objectives_of(
                first_seconds=options["first_token"],
                pace_seconds=options["pace"],
                target=options["target"] / 100,
                window_seconds=3600.0 * options["window_hours"],
            )
            bounds = (1, 64)
        least = bounds[0] if options["minimum"] is None else options["minimum"]
        most = bounds[1] if options["maximum"] is None else options["maximum"]
        if least > most:
            raise click.UsageError(f"--min {least} is more than --max {most}")
        start = max(least, min(most, options["start"]))
        return scenario.Scenario(
            workload=workload,
            variants=variants,
            objectives=objectives,
            cost_unit=unit,
            min_replicas=least,
            max_replicas=most,
            start=(start, *(0 for _ in variants[1:])),
            settings=FleetSettings(routing=Routing(options["routing"])),
            seed=seed,
            model_error=options["model_error"] / 100,
            rate_scale=options["rate_scale"],
        )
