"""A deployment that is simulated: its file checked as the operator would check it, and the engines it describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from inference_fleet.cli.main import EXIT_REFUSED


class RefusedSpec(click.ClickException):
    """A spec that the operator would refuse."""

    exit_code = EXIT_REFUSED


@dataclass(frozen=True)
class Offer:
    """A checked spec: what the scaler is told of it, and the engines that it describes."""

    limits: Any
    acceptance: Any

    @property
    def is_priced(self) -> bool:
        """Whether every variant's cost is known."""
        return all(limit.cost_per_replica_hour is not None for limit in self.limits.variants)

    @property
    def cost_unit(self) -> str:
        """The currency of the variants' classes; replica-hours where one has no price, or where currencies differ."""
        from inference_fleet.simulation.scenario import REPLICA_HOURS

        classes = [variant.accelerator for variant in self.acceptance.variants]
        found = {known.cost.currency for known in classes if known is not None and known.cost is not None}
        return found.pop() if self.is_priced and len(found) == 1 else REPLICA_HOURS

    def engines(self) -> list[tuple[str, Any, float | None]]:
        """Per variant: its name, the engine to simulate, and its cost an hour if that is known."""
        from dataclasses import replace

        from inference_fleet.simulation.scenario import engine_of

        found = []
        for limit, variant in zip(self.limits.variants, self.acceptance.variants, strict=True):
            engine = engine_of(limit)
            batched = None if variant.engine is None else variant.engine.effective.max_num_batched_tokens
            known = engine if batched is None else replace(engine, max_num_batched_tokens=batched)
            batching = variant.intent.engine.batching
            limited = replace(
                known,
                max_num_queued_reqs=None if batching is None else batching.max_num_queued_reqs,
                max_num_queued_tokens=None if batching is None else batching.max_num_queued_tokens,
            )
            found.append((limit.name, limited, limit.cost_per_replica_hour))
        return found


def offer_of(file: str) -> Offer:
    """The file's deployment, as it stands. Raises RefusedSpec or ClickException."""
    deployment, classes = _deployment(file)
    return _checked(deployment.get("spec") or {}, deployment, classes, said=file)


def offer_on(file: str, accelerator: str, cost: str | None) -> Offer:
    """The file's deployment with this accelerator alone. cost: of a device for an hour, if the class has none.

    The variant that names the accelerator keeps its own settings; otherwise the first variant moves over.
    """
    deployment, classes = _deployment(file)
    if accelerator not in classes:
        raise click.UsageError(f"--accelerator {accelerator}: no such class is built in or stands in {file}")
    if cost is not None:
        known = classes[accelerator]
        priced = {**known["spec"], "cost": {"perDeviceHour": cost, "currency": "USD"}}
        classes = {**classes, accelerator: {**known, "spec": priced}}
    spec = dict(deployment.get("spec") or {})
    variants = [each for each in spec.get("variants") or () if isinstance(each, Mapping)]
    own = [each for each in variants if each.get("acceleratorClassName") == accelerator]
    moved = {**(own or variants or [{}])[0], "name": "only", "acceleratorClassName": accelerator}
    return _checked({**spec, "variants": [moved]}, deployment, classes, said=accelerator)


def _deployment(file: str) -> tuple[Any, dict[str, Any]]:
    from inference_fleet.cli.documents import read_deployments
    from inference_fleet.engine.catalogue import built_in_accelerators

    documents = read_deployments(file)
    if len(documents.deployments) != 1:
        raise click.ClickException(f"{file}: holds {len(documents.deployments)} InferenceDeployments, expected one")
    return documents.deployments[0], {**built_in_accelerators(), **documents.accelerator_classes}


def _checked(spec: Mapping[str, Any], deployment: Any, classes: Mapping[str, Any], *, said: str) -> Offer:
    from inference_fleet.cli.manifest_check import manifest_faults, with_faults
    from inference_fleet.planning.acceptance import accept
    from inference_fleet.planning.limits import limits_of
    from inference_fleet.planning.snapshot import Snapshot

    verdict = accept(spec, Snapshot(deployment=deployment, accelerator_classes=classes))
    faults = manifest_faults({**deployment, "spec": spec}, accelerator_classes=classes)
    refusals = with_faults(faults, verdict.all_refusals)
    if refusals:
        raise RefusedSpec(f"{said}: {refusals[0].text()}")
    limits = limits_of(verdict, carried=(), now=0.0)
    assert limits is not None
    return Offer(limits, verdict)
