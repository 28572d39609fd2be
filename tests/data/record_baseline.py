"""Records a release: `python tests/data/record_baseline.py` writes tests/data/baselines/VERSION.{json,chart.yaml}.

Run it once, when a release is made: in a sandbox the operator of this checkout makes a few InferenceDeployments serve,
and what then is in the cluster is written down. A release that is on record already is left alone.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from builders.baseline import FOLDER, RECORDED, cleaned  # noqa: E402
from builders.helm import CHART, SYSTEM, Helm  # noqa: E402
from builders.operator_sandbox import OperatorSandbox, operator_sandbox  # noqa: E402
from inference_fleet import __version__  # noqa: E402

CLIENTS = {"networkPolicy": {"clients": [{"podSelector": {"matchLabels": {"app": "gateway"}}}]}}
DEPLOYMENTS: dict[str, dict[str, Any]] = {
    "automatic": {
        "objectives": [
            {"name": "first", "metric": "TimeToFirstToken", "thresholdMilliseconds": 1000, "targetPercent": "99"}
        ]
    },
    "manual": {"scaling": {"mode": "Manual"}, "replicas": 2, "routing": CLIENTS},
    "external": {"scaling": {"mode": "External"}, "replicas": 1, "pod": {"labels": {"team": "search"}}},
}


def main() -> int:
    target = FOLDER / f"{__version__}.json"
    if target.exists():
        print(f"{target} is there already: a release is recorded once", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with operator_sandbox("baseline") as world:
        for name, spec in DEPLOYMENTS.items():
            world.deploy(name, **spec)
        for name in DEPLOYMENTS:
            world.wait_condition(name, "Ready")
        # A second revision, so that an empty pool and an older record are there too.
        world.deploy("manual", **DEPLOYMENTS["manual"], engine={"vllm": {"maxModelLen": 1024}})
        world.wait_condition("manual", "RolledOut", "False")
        world.wait_condition("manual", "RolledOut")
        world.wait("automatic", ".status.scaling.signals.state", "Idle")
        # What the scaler has learned is written down when the operator ends.
        world.scale_operator(0)
        objects = [obj for resource in RECORDED for obj in listed(world, resource.plural)]
        with tempfile.TemporaryDirectory() as home:
            helm = Helm("helm", kubeconfig=world.sandbox.kubeconfig, home=Path(home))
            chart = helm.run("template", "inference-fleet", str(CHART), "--kube-version", "1.37.1")
    target.write_text(json.dumps(objects, indent=1) + "\n", encoding="utf-8")
    (FOLDER / f"{__version__}.chart.yaml").write_text(chart, encoding="utf-8")
    print(f"{target}: {len(objects)} objects; the chart as it is rendered into {SYSTEM} beside it")
    return 0


def listed(world: OperatorSandbox, plural: str) -> list[dict[str, Any]]:
    """All objects of a kind that belong to the fleet."""
    found = json.loads(world.kubectl("get", plural, "-n", "default", "-o", "json"))["items"]
    ours = ("InferenceDeployment", "AcceleratorClass")
    return [
        cleaned(obj)
        for obj in found
        if obj["kind"] in ours or "inferencefleet.io/deployment" in (obj["metadata"].get("labels") or {})
    ]


if __name__ == "__main__":
    sys.exit(main())
