"""What a decision rests on, in sentences; a term that this release does not know is shown as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from inference_fleet.api.counted import counted
from inference_fleet.api.status import Term
from inference_fleet.cli.deployment_view import duration

_WORTH: Final = "worth/"
# Replicas: less than this is not worth a word.
_SHOWN: Final = 0.05
# Told by the objectives, as what is really left of the budget: this one counts hours not lived yet as nearly spent.
_TOLD_ELSEWHERE: Final = ("errorBudgetSpent",)


def decision_words(terms: Sequence[Term]) -> tuple[str, ...]:
    """One line each: the load, the number that is cheapest for it, what stands by, what the variants carry."""
    known = {term.name: term for term in terms if term.name is not None}
    told = set(_TOLD_ELSEWHERE)
    lines = [line for line in (_load(known, told), _choice(known, told), _standby(known, told)) if line]
    worth = [term for name, term in known.items() if name.startswith(_WORTH)]
    told.update(term.name for term in worth if term.name)
    if len(worth) > 1:
        lines.append(f"a replica carries as much as: {', '.join(_worth(term) for term in worth)}")
    rest = [_plain(term) for name, term in known.items() if name not in told]
    return (*lines, "; ".join(rest)) if rest else tuple(lines)


def _load(known: Mapping[str, Term], told: set[str]) -> str:
    running, waiting, demand = (_number(known, name) for name in ("running", "waiting", "demand"))
    if running is None or waiting is None or demand is None:
        return ""
    told.update(("running", "waiting", "demand", "rejected", "backlog"))
    words = f"{counted(round(running), 'request')} {'runs' if round(running) == 1 else 'run'}, {waiting:.0f} wait"
    if rejected := _number(known, "rejected"):
        words += f", {rejected:.0f} were turned away"
    words += f": work for {_amount(demand)} full replicas now"
    backlog = _number(known, "backlog")
    if backlog is not None and backlog >= _SHOWN:
        words += f", the queue alone 30 s of work for {_amount(backlog)}"
    forecast, seconds = _number(known, "forecast"), _number(known, "coldStart")
    if forecast is None or seconds is None:
        return words
    told.update(("forecast", "coldStart"))
    return f"{words}, {_amount(forecast)} expected in {duration(seconds)}, which a start takes"


def _choice(known: Mapping[str, Term], told: set[str]) -> str:
    misses, floor, price = (_number(known, name) for name in ("expectedMisses", "unavoidableMisses", "price"))
    asked = known["forecast"].replicas if "forecast" in known else None
    if misses is None or floor is None or price is None or asked is None:
        return ""
    told.update(("forecast", "expectedMisses", "unavoidableMisses", "price"))
    late = f"{_amount(misses)} % of the requests may be late then ({_amount(floor)} % with any number)"
    cost = "costs" if asked == 1 else "cost"
    # The price is of all requests; nobody thinks of a fleet that misses all of them.
    weight = f"; 1 % late weighs as much as {_amount(price / 100)} replicas" if price / 100 >= _SHOWN else ""
    return f"{counted(asked, 'replica')} {cost} least: {late}{weight}"


def _standby(known: Mapping[str, Term], told: set[str]) -> str:
    count = _number(known, "standby")
    if count is None:
        return ""
    told.add("standby")
    words = f"{_kept(count)} for bursts that no forecast sees" if count else ""
    season = _number(known, "season")
    if not season:
        return words
    told.add("season")
    return f"{words}; " * bool(words) + f"{_kept(season)} for a load as on the last days at this hour"


def _kept(count: float) -> str:
    # They are no others: whichever serve.
    return f"at least {counted(round(count), 'replica')} {'is' if round(count) == 1 else 'are'} kept"


def _worth(term: Term) -> str:
    name, asks = (term.name or "").removeprefix(_WORTH), _asks(term)
    return f"{name} {term.value or '-'} {term.unit or ''}".rstrip() + asks


def _plain(term: Term) -> str:
    return f"{term.name} {term.value or '-'} {term.unit or ''}".rstrip() + _asks(term)


def _asks(term: Term) -> str:
    return "" if term.replicas is None else f" (asks for {term.replicas})"


def _number(known: Mapping[str, Term], name: str) -> float | None:
    """The value of a term, None if there is none or it is no number."""
    try:
        return float(known[name].value or "")
    except (KeyError, ValueError):
        return None


def _amount(value: float) -> str:
    """Three digits at most: nobody decides by the fourth, nor by a thousandth of a replica or a percent."""
    return f"{value:.0f}" if value >= 100 else f"{round(value, 2):.2g}" if value < 1 else f"{value:.3g}"
