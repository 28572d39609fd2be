"""The metrics of the whole fleet from Prometheus: one query per signal, believed value by value."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import requests
from prometheus_api_client import PrometheusApiClientException, PrometheusConnect
from urllib3.util.retry import Retry

from inference_fleet.adapters.histogram_totals import ALL_DEPLOYMENTS, HistogramTotals, Query, Row, number_of
from inference_fleet.adapters.past_window import PastWindow
from inference_fleet.adapters.ports import DeploymentKey, FleetSamples, PastSamples, PodKey, Promised
from inference_fleet.scaling.silence import MAXIMUM_SAMPLE_LEAD_SECONDS
from inference_fleet.scaling.types import PodSample

CONNECT_TIMEOUT_SECONDS: Final = 1.0
READ_TIMEOUT_SECONDS: Final = 4.0
# What Prometheus itself is told; a query over 50,000 series takes well under a second.
QUERY_TIMEOUT: Final = "3s"
# All signals together; a tick comes every 15 s.
SAMPLE_TIMEOUT_SECONDS: Final = 10.0
# All signals of one part of the past.
PAST_TIMEOUT_SECONDS: Final = 10.0
LONGEST_PROBLEM: Final = 200
# Beyond the time that an answer may take, whose own time is in whole seconds.
DIFFERENT_CLOCKS_SECONDS: Final = 30.0

_SELECTOR: Final = f"{{{ALL_DEPLOYMENTS}}}"
_POD: Final = "namespace, pod"
# Labels by which one engine's series differ: its cores (data parallel), why a request ended or was turned away.
_OWN: Final = "engine, finished_reason, reason"


def _by_pod(operation: str, values: str) -> str:
    # A pod that two jobs scrape, or that both of a pair of Prometheus report, shows twice: the larger one counts. Only
    # the labels of vLLM's own are added up. Fewer labels in the answer are fewer bytes to read.
    return f"max by ({_POD}) ({operation} without ({_OWN}) ({values}))"


def _sum(metric: str) -> str:
    # The sum is over the engine cores of one pod (label `engine`) and over reasons.
    return _by_pod("sum", f"{metric}{_SELECTOR}")


# Signal -> query. Names as both vLLM 0.32 and 0.33 have them.
POD_QUERIES: Final[Mapping[str, str]] = {
    "sample_time": _by_pod("min", f"timestamp(vllm:num_requests_running{_SELECTOR})"),
    "running": _sum("vllm:num_requests_running"),
    "waiting": _sum("vllm:num_requests_waiting"),
    "kv_cache_usage": _by_pod("max", f"vllm:kv_cache_usage_perc{_SELECTOR}"),
    "prompt_tokens": _sum("vllm:prompt_tokens_total"),
    "cached_prompt_tokens": _sum("vllm:prompt_tokens_cached_total"),
    "generation_tokens": _sum("vllm:generation_tokens_total"),
    "finished_requests": _sum("vllm:request_success_total"),
    "rejected_requests": _sum("vllm:admission_rejections_total"),
    # Most never fail one: their rows are not worth reading.
    "failed_requests": _by_pod("sum", f'vllm:request_success_total{_SELECTOR[:-1]},finished_reason="error"}}') + " > 0",
    "steps": _sum("vllm:iteration_tokens_total_count"),
    "inter_token_sum_seconds": _sum("vllm:inter_token_latency_seconds_sum"),
    "inter_token_count": _sum("vllm:inter_token_latency_seconds_count"),
}
KV_CACHE_TOKENS_QUERY: Final = (
    f"max by ({_POD}, kv_cache_size_tokens, kv_cache_max_concurrency) (vllm:cache_config_info{_SELECTOR})"
)
# When a pod was scraped last by a clock that is ahead of ours: such a sample is not among those of now, and older ones
# are. What is only as far ahead as a slow answer takes is left out. Asked about two parts of what may be ahead, since
# one look reaches five minutes.
AHEAD_QUERY: Final = _by_pod(
    "max",
    " or ".join(
        f"timestamp(vllm:num_requests_running{_SELECTOR} offset -{minutes}m) > time() + {MAXIMUM_SAMPLE_LEAD_SECONDS:g}"
        for minutes in (10, 5)
    ),
)
# Also of those that have still not been answered at the next look.
_TOO_SLOW: Final = f"Prometheus takes longer than {SAMPLE_TIMEOUT_SECONDS:.0f} s for the queries of one look"
_log = logging.getLogger(__name__)


class _Unreadable(Exception):
    """Prometheus answered, but not with what was asked for."""


class _Refused(Exception):
    """Prometheus, or what stands before it, answered with an error: status and words."""


class _GivenUp(Exception):
    """Nobody waits for the answer any more."""


_NOT_REACHED: Final = (requests.RequestException, PrometheusApiClientException, OSError)
_NO_ANSWER: Final = (*_NOT_REACHED, _Refused, _Unreadable, ValueError, KeyError, TypeError, AttributeError)


class _SecretFromFile(requests.auth.AuthBase):
    """A bearer token, or the password of a user, that may be renewed while we run, as projected tokens are."""

    def __init__(self, path: Path, *, user: str | None) -> None:
        self._path = path
        self._user = user

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        secret = self._path.read_text(encoding="utf-8", errors="replace").strip()
        if not secret.isascii() or not secret.isprintable() or not secret:
            # The client would repeat the header in its own error.
            raise OSError(f"{self._path} holds no {'bearer token' if self._user is None else 'password'}")
        if self._user is not None:
            requests.auth.HTTPBasicAuth(self._user, secret)(request)
            return request
        request.headers["Authorization"] = f"Bearer {secret}"
        return request


class PrometheusSignals:
    """Signals port. requests is not promised to be thread-safe: one thread asks about now, and another, with a
    connection of its own, about the past.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: str | None = None,
        user: str | None = None,
        password_file: str | None = None,
        ca_file: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        arrivals_query: str | None = None,
    ) -> None:
        self._arrivals_query = arrivals_query
        auth = _SecretFromFile(Path(secret), user=user) if (secret := token_file or password_file) else None
        self._client, self._past_client = (
            _connected(url, auth=auth, verify=ca_file or True, headers=headers, heard=self._hear) for _ in range(2)
        )
        self._server_date: str | None = None
        self._totals = HistogramTotals()
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prometheus")
        self._under_way: asyncio.Future[FleetSamples] | None = None
        self._past_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prometheus-past")
        self._past_under_way: asyncio.Future[PastSamples] | None = None

    async def sample(self, *, at: float, promised: Collection[Promised]) -> FleetSamples:
        """See Signals."""
        if self._under_way is not None and not self._under_way.done():
            return FleetSamples(problem=_TOO_SLOW)
        self._under_way = asyncio.get_running_loop().run_in_executor(self._pool, self._ask, at, promised)
        try:
            return await asyncio.wait_for(asyncio.shield(self._under_way), SAMPLE_TIMEOUT_SECONDS)
        except TimeoutError:
            return FleetSamples(problem=_TOO_SLOW)

    async def past(
        self, *, moments: Sequence[float], promised: Collection[Promised], of: Collection[DeploymentKey]
    ) -> PastSamples:
        """See Signals."""
        if self._past_under_way is not None and not self._past_under_way.done():
            return PastSamples(problem="Prometheus has not answered the last range queries yet")
        given_up = threading.Event()
        asked = partial(self._ask_past, moments, promised, of, given_up)
        self._past_under_way = asyncio.get_running_loop().run_in_executor(self._past_pool, asked)
        try:
            return await asyncio.wait_for(asyncio.shield(self._past_under_way), PAST_TIMEOUT_SECONDS)
        except TimeoutError:
            return PastSamples(problem=f"Prometheus took longer than {PAST_TIMEOUT_SECONDS:.0f} s")
        finally:
            given_up.set()

    async def close(self) -> None:
        """Let the threads end."""
        for client, pool in ((self._client, self._pool), (self._past_client, self._past_pool)):
            client.close()
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, at: float, promised: Collection[Promised]) -> FleetSamples:
        try:
            fleet = read_fleet(self._query, at=at, promised=promised, totals=self._totals)
            arrivals = {} if self._arrivals_query is None else self._arrivals(at)
        except _NO_ANSWER as error:
            return FleetSamples(problem=self._problem(error))
        if ahead := self._ahead(fleet, at):
            fleet = replace(fleet, pods={**fleet.pods, **ahead})
        return replace(fleet, arrivals=arrivals, clocks=_clocks_differ(self._server_date, at=at))

    def _ask_past(
        self,
        moments: Sequence[float],
        promised: Collection[Promised],
        of: Collection[DeploymentKey],
        given_up: threading.Event,
    ) -> PastSamples:
        def ask(query: str, at: Sequence[float]) -> list[Any]:
            if given_up.is_set():
                raise _GivenUp
            return self._range(query, at)

        window, totals = PastWindow(ask, moments, of=of), HistogramTotals()
        try:
            return PastSamples(
                tuple((at, read_fleet(window.query, at=at, promised=promised, totals=totals)) for at in moments)
            )
        except _GivenUp:
            return PastSamples(problem="nobody waits for the answer")
        except _NO_ANSWER as error:
            return PastSamples(problem=self._problem(error))

    def _problem(self, error: BaseException) -> str:
        if isinstance(error, _Refused):
            return _short(f"Prometheus at {self._client.url} answers {error}")
        if isinstance(error, _NOT_REACHED):
            return _short(f"Prometheus at {self._client.url} cannot be asked: {_cause(error)}")
        return _short(f"Prometheus gives no usable answer: {type(error).__name__} {error}")

    def _arrivals(self, at: float) -> Mapping[tuple[str, str], float]:
        """Without an answer the engines' own counters do."""
        assert self._arrivals_query is not None
        try:
            rows = self._query(self._arrivals_query, at)
        except (requests.RequestException, PrometheusApiClientException, _Refused, _Unreadable) as error:
            _log.warning("arrivals_query has no usable answer: %s", _short(_cause(error)))
            return {}
        found: dict[tuple[str, str], float] = {}
        for labels, number in rows:
            key = labels.get("namespace", ""), labels.get("inference_deployment", "")
            if all(key) and 0 <= number < math.inf:
                found[key] = found.get(key, 0.0) + number
        return found

    def _ahead(self, fleet: FleetSamples, at: float) -> Mapping[PodKey, PodSample]:
        """Pods that were scraped by a clock ahead of ours: what is seen of them now is older than it says."""
        try:
            rows = self._query(AHEAD_QUERY, at)
        except _NO_ANSWER as error:
            _log.debug("whether samples are ahead of the clock is not known: %s", _short(_cause(error)))
            return {}
        found = {}
        for labels, time in rows:
            key = labels.get("namespace", ""), labels.get("pod", "")
            if all(key) and math.isfinite(time):
                found[key] = replace(fleet.pods.get(key, PodSample(key[1], None)), sample_time=time)
        return found

    def _hear(self, response: requests.Response, **_: Any) -> None:
        self._server_date = response.headers.get("Date")

    def _range(self, query: str, moments: Sequence[float]) -> list[Any]:
        answer = self._past_client.custom_query_range(
            query,
            start_time=datetime.fromtimestamp(moments[0], tz=UTC),
            end_time=datetime.fromtimestamp(moments[-1], tz=UTC),
            step=f"{moments[-1] - moments[-2]:.3f}" if len(moments) > 1 else "1",
            params={"timeout": QUERY_TIMEOUT},
        )
        if not isinstance(answer, list):
            raise _Unreadable("the result is no list")
        return answer

    def _query(self, query: str, at: float) -> list[Row]:
        answer = self._client.custom_query(query, params={"time": f"{at:.3f}", "timeout": QUERY_TIMEOUT})
        if not isinstance(answer, list):
            raise _Unreadable("the result is no list")
        return _rows(answer)


def _connected(
    url: str,
    *,
    auth: requests.auth.AuthBase | None,
    verify: str | bool,
    headers: Mapping[str, str],
    heard: Callable[..., None],
) -> PrometheusConnect:
    session = requests.Session()
    session.headers.update(headers)
    session.trust_env = False
    session.verify = verify
    session.auth = auth
    # The client would tell the answer's bytes as Python writes them.
    session.hooks["response"] += [heard, _refuse_errors]
    return PrometheusConnect(
        url,
        session=session,
        timeout=(CONNECT_TIMEOUT_SECONDS, READ_TIMEOUT_SECONDS),
        retry=Retry(total=1, backoff_factor=0.2, status_forcelist=(502, 503, 504), raise_on_status=False),
    )


def _refuse_errors(response: requests.Response, **_: Any) -> None:
    """Raise what an answer of an error says: the words of Prometheus' own body, else its text, else its reason."""
    if response.status_code < 400:
        return
    try:
        said = str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        said = "" if "html" in response.headers.get("Content-Type", "") else response.text
    raise _Refused(f"{response.status_code}: {said.strip() or response.reason}")


def _clocks_differ(date: str | None, *, at: float) -> str:
    """Words on the clock of whoever answered, empty if it goes as ours does. date: of the answer."""
    try:
        ahead = parsedate_to_datetime(date or "").timestamp() - at
    except ValueError:
        return ""
    if abs(ahead) < DIFFERENT_CLOCKS_SECONDS:
        return ""
    words = "ahead of" if ahead > 0 else "behind"
    # In minutes: the seconds would be others with every answer.
    return f"the clock of Prometheus is about {max(1, round(abs(ahead) / 60))} min {words} that of this operator"


def read_fleet(query: Query, *, at: float, promised: Collection[Promised], totals: HistogramTotals) -> FleetSamples:
    """Ask for every signal and put the answers together by pod. Raises whatever `query` raises.

    totals: of the calls before, which it goes on with.
    """
    values: dict[PodKey, dict[str, float]] = {}
    for signal, text in POD_QUERIES.items():
        for labels, number in query(text, at):
            _take(values, labels, signal, number)
    for labels, _ in query(KV_CACHE_TOKENS_QUERY, at):
        tokens, sequences = (
            number_of(labels.get("kv_cache_size_tokens")),
            number_of(labels.get("kv_cache_max_concurrency")),
        )
        _take(values, labels, "kv_cache_tokens", tokens)
        # How many sequences of the longest length fit: the length itself has no metric.
        if sequences > 0:
            _take(values, labels, "max_model_len", round(tokens / sequences) if math.isfinite(tokens) else math.nan)
    pods = {key: _pod_sample(key[1], signals) for key, signals in values.items()}
    heard = {key: sample.sample_time for key, sample in pods.items() if sample.sample_time is not None}
    return FleetSamples(pods=pods, histograms=totals.read(query, at=at, promised=promised, heard=heard))


def _take(values: dict[PodKey, dict[str, float]], labels: Mapping[str, str], signal: str, number: float) -> None:
    if not 0 <= number < math.inf:
        return
    key = labels.get("namespace", ""), labels.get("pod", "")
    known = values.get(key)
    if known is None:
        if not all(key):
            return
        known = values[key] = {}
    if number > known.get(signal, -1.0):
        known[signal] = number


def _pod_sample(pod: str, signals: dict[str, float]) -> PodSample:
    return PodSample(pod=pod, sample_time=signals.pop("sample_time", None), **signals)


def _rows(answer: list[Any]) -> list[Row]:
    rows: list[Row] = []
    for row in answer:
        try:
            labels, (_, text) = row["metric"], row["value"]
        except (KeyError, TypeError, ValueError) as error:
            raise _Unreadable("a row is no sample") from error
        if not isinstance(labels, dict):
            raise _Unreadable("a row has no labels")
        rows.append((labels, number_of(text)))
    return rows


def _cause(error: BaseException) -> str:
    """The innermost words: requests wraps what the socket said three times over."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return str(getattr(reason, "__cause__", None) or reason or error)


def _short(text: str) -> str:
    return " ".join(text.split())[:LONGEST_PROBLEM]
