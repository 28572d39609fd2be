"""A Prometheus of a made-up fleet: it answers the operator's queries over HTTP, from a process of its own."""

from __future__ import annotations

import json
import multiprocessing
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import parse_qs, urlparse

from inference_fleet.adapters.histogram_totals import ALL_DEPLOYMENTS
from inference_fleet.adapters.prometheus import AHEAD_QUERY, KV_CACHE_TOKENS_QUERY, POD_QUERIES
from inference_fleet.engine.metrics import OBJECTIVE_FAMILIES, thresholds_seconds

# Of one engine that runs 8 requests: what its counters gain a second.
PER_SECOND: Mapping[str, float] = {
    "prompt_tokens": 800.0,
    "cached_prompt_tokens": 0.0,
    "generation_tokens": 160.0,
    "finished_requests": 0.8,
    "rejected_requests": 0.0,
    "failed_requests": 0.0,
    "steps": 20.0,
    "inter_token_sum_seconds": 8.0,
    "inter_token_count": 160.0,
}
GAUGES: Mapping[str, float] = {"running": 8.0, "waiting": 0.0, "kv_cache_usage": 0.3}
SAMPLE_AGE_SECONDS = 5.0
KV_CACHE_TOKENS = 400_000
# As objectives are promised in what is measured here; one request in five hundred takes longer.
PROMISED_SECONDS: Mapping[str, float] = {"TimeToFirstToken": 2.5, "InterTokenLatency": 0.2}

Labels = Mapping[str, str]
"""Of one pod: namespace, pod, inference_deployment, inference_variant."""
Some = tuple[frozenset[str], frozenset[str]]
"""Namespaces and InferenceDeployments that a query is about."""
_SOME = re.compile(r'namespace=~"([^"]*)",inference_deployment=~"([^"]*)"')


def share_within(metric: str, edge_seconds: float) -> float:
    """Of finished requests, how many a bucket's edge covers."""
    promised = PROMISED_SECONDS[metric]
    return 0.998 * edge_seconds / promised if edge_seconds <= promised else 1.0


@contextmanager
def prometheus(pods: Sequence[Labels], *, since: float) -> Iterator[str]:
    """The URL of a server that has watched these pods since then (unix seconds); it ends with the block."""
    # Not a fork: the parent may run threads.
    start = multiprocessing.get_context("spawn")
    ours, theirs = start.Pipe()
    process = start.Process(target=_serve, args=(list(pods), since, theirs), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _serve(pods: Sequence[Labels], since: float, port: Connection) -> None:
    signals = {query: signal for signal, query in POD_QUERIES.items()}
    # No two pods do quite the same.
    paced = [
        ({"namespace": pod["namespace"], "pod": pod["pod"]}, pod["inference_deployment"], 0.8 + 0.4 * (n % 7) / 6)
        for n, pod in enumerate(pods)
    ]
    fleet: dict[tuple[str, str, str], int] = {}
    for pod in pods:
        key = pod["namespace"], pod["inference_deployment"], pod["inference_variant"]
        fleet[key] = fleet.get(key, 0) + 1

    # Asked for every moment of a range.
    @lru_cache
    def pods_of(of: Some | None) -> list[tuple[Labels, float]]:
        return [
            (name, pace)
            for name, deployment, pace in paced
            if of is None or (name["namespace"] in of[0] and deployment in of[1])
        ]

    @lru_cache
    def fleets_of(of: Some | None) -> dict[tuple[str, str, str], int]:
        return {key: count for key, count in fleet.items() if of is None or (key[0] in of[0] and key[1] in of[1])}

    def rows(query: str, at: float, *, of: Some | None = None) -> list[tuple[Labels, float]]:
        if " unless " in query or query == AHEAD_QUERY:
            # No engine of this fleet goes or starts again, and no clock is ahead.
            return []
        if "_bucket{" in query:
            (metric,) = [metric for metric, name in OBJECTIVE_FAMILIES.items() if name in query]
            edges = re.compile(query.partition('le=~"')[2].partition('"')[0])
            found = _buckets(metric, fleets_of(of), seconds=at - since)
            return [(labels, number) for labels, number in found if edges.fullmatch(labels["le"])]
        asked_pods = pods_of(of)
        if query == KV_CACHE_TOKENS_QUERY:
            told = {"kv_cache_size_tokens": str(KV_CACHE_TOKENS), "kv_cache_max_concurrency": "48.8"}
            return [({**name, **told}, 1.0) for name, _ in asked_pods]
        signal = signals[query]
        found = [(name, _value(signal, at, since=since, pace=pace)) for name, pace in asked_pods]
        return [row for row in found if row[1] > 0] if query.endswith(" > 0") else found

    def vector(query: str, at: float) -> list[Any]:
        return [{"metric": labels, "value": [at, repr(number)]} for labels, number in rows(query, at)]

    def matrix(query: str, moments: Sequence[float]) -> list[Any]:
        some = _SOME.search(query)
        of = (frozenset(some[1].split("|")), frozenset(some[2].split("|"))) if some else None
        query = _SOME.sub(ALL_DEPLOYMENTS, query)
        series: dict[tuple[tuple[str, str], ...], list[tuple[float, str]]] = {}
        for at in moments:
            for labels, number in rows(query, at, of=of):
                series.setdefault(tuple(labels.items()), []).append((at, repr(number)))
        return [{"metric": dict(labels), "values": values} for labels, values in series.items()]

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = urlparse(self.path)
            asked = {name: values[0] for name, values in parse_qs(path.query).items()}
            if path.path.endswith("/query_range"):
                first, step = float(asked["start"]), float(asked["step"])
                count = round((float(asked["end"]) - first) / step) + 1
                kind, result = "matrix", matrix(asked["query"], [first + step * place for place in range(count)])
            else:
                kind, result = "vector", vector(asked["query"], float(asked["time"]))
            said = {"status": "success", "data": {"resultType": kind, "result": result}}
            body = json.dumps(said, separators=(",", ":")).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    port.send(server.server_port)
    server.serve_forever()


def _value(signal: str, at: float, *, since: float, pace: float) -> float:
    if signal == "sample_time":
        return at - SAMPLE_AGE_SECONDS
    if signal in GAUGES:
        return GAUGES[signal] if signal == "kv_cache_usage" else round(GAUGES[signal] * pace)
    return PER_SECOND[signal] * pace * (at - SAMPLE_AGE_SECONDS - since)


def _buckets(metric: str, fleet: Mapping[tuple[str, str, str], int], *, seconds: float) -> list[tuple[Labels, float]]:
    found: list[tuple[Labels, float]] = []
    for (namespace, deployment, variant), pods in fleet.items():
        labels = {"namespace": namespace, "inference_deployment": deployment, "inference_variant": variant}
        finished = PER_SECOND["finished_requests"] * pods * seconds
        found += [
            ({**labels, "le": repr(float(edge))}, float(int(finished * share_within(metric, edge))))
            for edge in thresholds_seconds(metric)  # type: ignore[arg-type]
        ]
        found.append(({**labels, "le": "+Inf"}, float(int(finished))))
    return found
