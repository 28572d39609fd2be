"""What a decision rests on is told in sentences, and nothing that the status says is kept back."""

from __future__ import annotations

from inference_fleet.api.status import Term
from inference_fleet.cli.decision_words import decision_words

QUIET = {
    "running": ("0", "requests"),
    "waiting": ("0", "requests"),
    "rejected": ("0", "requests"),
    "demand": ("0.02", "replicas"),
    "backlog": ("0", "replicas"),
    "forecast": ("0.02", "replicas"),
    "expectedMisses": ("0.05", "percent of requests"),
    "unavoidableMisses": ("0.05", "percent of requests"),
    "errorBudgetSpent": ("95", "percent"),
    "price": ("0.1584", "replicas for all requests"),
    "standby": ("0", "replicas"),
    "coldStart": ("120", "seconds"),
    "worth/l4": ("1", "replicas of l4"),
}


def words(*without: str, **changed: str) -> tuple[str, ...]:
    return decision_words(
        [
            Term(
                name=name,
                value=changed.get(name, value),
                unit=unit,
                replicas=1 if name.startswith(("forecast", "worth")) else None,
            )
            for name, (value, unit) in QUIET.items()
            if name not in without
        ]
    )


def test_the_load_and_the_number_that_it_needs_are_sentences() -> None:
    assert words() == (
        "0 requests run, 0 wait: work for 0.02 full replicas now, 0.02 expected in 2m, which a start takes",
        "1 replica costs least: 0.05 % of the requests may be late then (0.05 % with any number)",
    )


def test_the_weight_of_a_late_request_is_told_where_it_weighs() -> None:
    assert words(price="641")[1].endswith("; 1 % late weighs as much as 6.41 replicas")


def test_what_waits_was_turned_away_and_stands_by_is_told_where_there_is_any() -> None:
    load, _, standby = words(running="1", waiting="12.0", rejected="3", demand="4.44", backlog="1.5", standby="2")
    assert load.startswith(
        "1 request runs, 12 wait, 3 were turned away: work for 4.44 full replicas now, the queue alone"
    )
    assert "the queue alone 30 s of work for 1.5, " in load
    assert standby == "at least 2 replicas are kept for bursts that no forecast sees"
    assert "queue" not in words(backlog="0.0096")[0]


def test_what_is_made_ready_for_its_hour_is_told() -> None:
    term = [Term(name="standby", value=count, unit="replicas") for count in ("0", "2")]
    season = Term(name="season", value="8", unit="replicas")
    expected = "at least 8 replicas are kept for a load as on the last days at this hour"
    assert decision_words([term[0], season]) == (expected,)
    assert decision_words([term[1], season]) == (
        f"at least 2 replicas are kept for bursts that no forecast sees; {expected}",
    )


def test_what_is_not_there_or_no_number_is_not_made_up() -> None:
    assert words("running") != ()
    assert "running" not in " ".join(words("running"))
    (load, *rest) = words(price="?")
    assert load.startswith("0 requests run")
    assert rest == [
        "expectedMisses 0.05 percent of requests; "
        "unavoidableMisses 0.05 percent of requests; price ? replicas for all requests"
    ]
    assert decision_words(()) == ()


def test_several_variants_are_compared_and_one_is_not() -> None:
    known = [Term(name="worth/h100", value="1", unit="replicas of h100", replicas=1)]
    assert decision_words(known) == ()
    known.append(Term(name="worth/l40s", value="0.4", unit="replicas of h100", replicas=3))
    assert decision_words(known) == (
        "a replica carries as much as: h100 1 replicas of h100 (asks for 1), l40s 0.4 replicas of h100 (asks for 3)",
    )


def test_a_term_of_a_later_release_is_shown_as_it_is() -> None:
    assert decision_words([Term(name="sunshine", value="3", unit="hours", replicas=2)]) == (
        "sunshine 3 hours (asks for 2)",
    )
