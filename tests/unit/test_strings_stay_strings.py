"""What tenants write stays data: it is no query, no path of the API, no shell's words."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.intents import accepted_intent, make_accelerator
from inference_fleet.adapters import prometheus
from inference_fleet.adapters.histogram_totals import HistogramTotals, departures_query, histogram_query
from inference_fleet.adapters.kubernetes import _path
from inference_fleet.adapters.resources import PODS
from inference_fleet.engine.check import check_variant
from inference_fleet.engine.metrics import OBJECTIVE_FAMILIES, judged_edge_seconds, thresholds_seconds
from inference_fleet.workload.owner import Owner
from inference_fleet.workload.pod_template import pod_template

PACKAGE = Path(prometheus.__file__).parents[1]
# Rooms that run in the cluster; the sandbox, the demo and the benchmarks start programs on their user's machine.
ROOMS = ("api", "engine", "workload", "scaling", "planning", "adapters", "controller")
PROGRAM_STARTERS = {"subprocess", "os.system", "os.popen", "pty", "shlex", "eval", "exec", "compile", "__import__"}
NASTY = st.text(alphabet=st.sampled_from(list("ab0-./;|&$(){}`'\"\\\n\t =*?<>~#%!")), min_size=1, max_size=24)
LEADS_AWAY = ("..", "/", "?", "#", "\n", " ", "{", "}")


def sources() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text(encoding="utf-8"))


def test_no_room_of_the_operator_starts_a_program_or_evaluates_text() -> None:
    found = []
    for name, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [(name, alias.name) for alias in node.names if alias.name in PROGRAM_STARTERS]
            elif isinstance(node, ast.ImportFrom) and node.module in PROGRAM_STARTERS:
                found.append((name, node.module))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in PROGRAM_STARTERS:
                found.append((name, ast.unparse(node.func)))
    assert found == []
    assert len(list(sources())) > 60, "the rooms were looked at"


def test_queries_are_constants_that_name_no_tenant() -> None:
    texts = [*prometheus.POD_QUERIES.values(), prometheus.KV_CACHE_TOKENS_QUERY]
    # One query for the whole fleet: the only value in a matcher is the empty one, a word or an edge of vLLM's own.
    matchers = {text.partition("{")[2].partition("}")[0] for text in texts}
    assert matchers == {'inference_deployment!=""', 'inference_deployment!="",finished_reason="error"'}
    promised = [(metric, threshold) for metric in OBJECTIVE_FAMILIES for threshold in (1e-9, 0.3, 1.2345, 1e9)]
    edges = {(metric, judged_edge_seconds(metric, threshold)) for metric, threshold in promised}
    assert all(edge in thresholds_seconds(metric) for metric, edge in edges)
    texts += [
        text
        for metric in OBJECTIVE_FAMILIES
        for judged in [sorted(edge for one, edge in edges if one == metric)]
        for text in (histogram_query(metric, judged), departures_query(metric, judged, milliseconds=15_000))
    ]
    asked: list[str] = []

    def query(text: str, at: float) -> list[Any]:
        asked.append(text)
        return [({"namespace": '"}', "pod": 'a"} or vector(1) #', "inference_deployment": "$(id)"}, 1.0)]

    totals = HistogramTotals()
    for at in (100.0, 115.0):
        prometheus.read_fleet(query, at=at, promised=promised, totals=totals)
    assert set(asked) == set(texts)


@given(namespace=NASTY, name=NASTY)
def test_a_name_is_one_part_of_a_path_whatever_is_in_it(namespace: str, name: str) -> None:
    parts = _path(PODS, namespace=namespace, name=name).split("/")
    assert parts[:4] == ["", "api", "v1", "namespaces"]
    assert len(parts) == 7
    assert (unquote(parts[4]), parts[5], unquote(parts[6])) == (namespace, "pods", name)
    assert not any(sign in parts[6] for sign in LEADS_AWAY[1:])


FIELDS: dict[str, Callable[[str], dict[str, Any]]] = {
    "repository": lambda word: {"model": {"huggingFace": {"repository": word}}},
    "revision": lambda word: {"model": {"huggingFace": {"repository": "a/b", "revision": word}}},
    "claim": lambda word: {"model": {"persistentVolumeClaim": {"claimName": word}}},
    "path": lambda word: {"model": {"persistentVolumeClaim": {"claimName": "c", "path": word}}},
    "served": lambda word: {"servedModelNames": [word]},
    "flag": lambda word: {"engine": {"vllm": {"extraArgs": [f"--tokenizer-revision={word}"]}}},
    "environment": lambda word: {"pod": {"env": [{"name": "TZ", "value": word}]}},
}
PLAIN = "plain0word"


def pod_of(spec: dict[str, Any]) -> dict[str, Any] | None:
    """The pod's spec; None if it is refused."""
    intent = accepted_intent(**spec)
    accelerator = make_accelerator()
    plan = check_variant(intent, accelerator, accelerator_name="h100").plan if intent else None
    if intent is None or plan is None:
        return None
    owner = Owner(name="m", namespace="chat", uid="u")
    found = pod_template(owner, intent=intent, engine=plan, accelerator=accelerator, revision="abcdef0123")
    spec_of_pod: dict[str, Any] = found["spec"]
    return spec_of_pod


@given(text=NASTY)
@pytest.mark.parametrize("field", FIELDS)
def test_a_word_is_refused_or_stands_where_a_plain_one_would(field: str, text: str) -> None:
    made = pod_of(FIELDS[field](text))
    plain = pod_of(FIELDS[field](PLAIN))
    assert plain is not None
    if made is None:
        return
    (container,) = made["containers"]
    words = [*container.get("command", ()), *container["args"]]
    assert not {"sh", "bash", "-c"} & {Path(word).name for word in words}
    if field in ("claim", "path"):
        assert ".." not in "/".join(words).split("/")
    # As many words, volumes and variables as with a plain one, each the same but for the word in its place.
    # Dollars are doubled: the kubelet would put a variable in place of $(NAME).
    word = json.dumps(text.replace("$", "$$"))[1:-1]
    assert json.dumps(made) == json.dumps(plain).replace(PLAIN, word)
