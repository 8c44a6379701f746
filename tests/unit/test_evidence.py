"""Evidence: whole values that add up, in any order, and are checked when they come from outside."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from detectors import evidence
from detectors.evidence import RIGHT, WRONG, Evidence, as_one_coin, total

MATRIX = Evidence(
    "confusion",
    labels=20,
    seen_ms=3_000,
    counts={("cat", 0, "cat"): 7.0, ("cat", 1, "dog"): 2.5, ("dog", 0, "dog"): 4.25, ("dog", 1, "cat"): 0.5},
    population=(0.9, 12.0),
)
COIN = Evidence("one_coin", 9, 4_000, {(RIGHT, 0, RIGHT): 5.0, (RIGHT, 0, WRONG): 1.5}, (0.7, 5.0))


def test_weight_and_hits() -> None:
    assert (MATRIX.weight, MATRIX.right) == (14.25, 11.25)
    assert (COIN.weight, COIN.right) == (6.5, 5.0)
    assert (Evidence("confusion", 0, 0).weight, Evidence("confusion", 0, 0).right) == (0.0, 0.0)


def test_one_coin_keeps_how_often_and_how_much() -> None:
    coin = as_one_coin(MATRIX)
    assert (coin.form, coin.labels, coin.seen_ms, coin.population) == ("one_coin", 20, 3_000, (0.9, 12.0))
    assert (coin.right, coin.weight) == (MATRIX.right, MATRIX.weight)
    assert as_one_coin(coin) == coin


def test_the_sum_is_over_counts() -> None:
    other = Evidence("confusion", 5, 1_000, {("cat", 0, "cat"): 1.0, ("emu", 0, "cat"): 3.0}, (0.5, 2.0))
    both = total([MATRIX, other])
    assert both.counts == {
        ("cat", 0, "cat"): 8.0,
        ("cat", 1, "dog"): 2.5,
        ("dog", 0, "dog"): 4.25,
        ("dog", 1, "cat"): 0.5,
        ("emu", 0, "cat"): 3.0,
    }
    assert (both.labels, both.seen_ms, both.population) == (25, 3_000, (0.9, 12.0)), "the population of the latest"
    assert total([MATRIX]) == MATRIX


def test_if_one_partition_has_gone_over_to_one_coin_all_do() -> None:
    for parts in itertools.permutations([MATRIX, COIN, MATRIX]):
        both = total(parts)
        assert (both.form, both.labels, both.right, both.weight) == ("one_coin", 49, 27.5, 35.0)


def test_moments_add_up_too() -> None:
    parts = [Evidence("rating", 1, at, moments={"n": 1.0, "sum": float(at)}) for at in (1, 2)]
    assert total(parts).moments == {"n": 2.0, "sum": 3.0}


def test_nothing_cannot_be_added_up() -> None:
    with pytest.raises(ValueError, match="no evidence"):
        total([])


def test_it_survives_json_exactly() -> None:
    for one in (MATRIX, COIN, Evidence("subjective", 3, 5, moments={"peers": 1 / 3})):
        plain = one.to_plain()
        assert Evidence.from_plain(json.loads(json.dumps(plain))) == one
    assert MATRIX.to_plain()["counts"][0] == ["cat", 0, "cat", 7.0]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("form", "mood", "form 'mood'"),
        ("labels", -1, "-1 is not a count"),
        ("labels", 1.5, "1.5 is not a count"),
        ("labels", True, "True is not a count"),
        ("seen_ms", "1", "'1' is not a count"),
        ("counts", None, "TypeError"),
        ("counts", [["cat", 0, "cat"]], "not enough values"),
        ("counts", [["cat", 0, "cat", -1e-9]], "negative count"),
        ("counts", [["cat", 0, "cat", float("nan")]], "not a finite number"),
        ("counts", [["cat", 0, "cat", True]], "not a finite number"),
        ("counts", [[3, 0, "cat", 1.0]], "3 is not a name"),
        ("counts", [["cat", -1, "cat", 1.0]], "-1 is not a count"),
        ("population", [], "IndexError"),
        ("population", [1.0, 5.0], "impossible population: 1, 5"),
        ("population", [0.0, 5.0], "impossible population"),
        ("population", [0.5, 0.0], "impossible population"),
        ("moments", {"sum": float("inf")}, "not a finite number"),
        ("moments", [1], "AttributeError"),
    ],
)
def test_what_comes_from_outside_is_checked(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Evidence.from_plain({**MATRIX.to_plain(), field: value})


def test_a_missing_field_is_told() -> None:
    plain = MATRIX.to_plain()
    del plain["population"]
    with pytest.raises(ValueError, match="population"):
        Evidence.from_plain(plain)


def test_more_counts_than_a_matrix_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "MAX_COUNTS", 3)
    with pytest.raises(ValueError, match="4 counts, at most 3"):
        Evidence.from_plain(MATRIX.to_plain())
