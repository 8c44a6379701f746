"""Reliability, by numbers worked out by hand."""

from __future__ import annotations

import pytest
from scipy.stats import beta

from detectors.evidence import RIGHT, WRONG, Evidence, as_one_coin
from detectors.reliability import ROW_PRIOR, Reliability, spammer_score, summarise

Matrix = dict[tuple[str, str], float]

NOTHING_KNOWN = (0.8, 10.0)


def evidence(matrix: Matrix, *, kind: int = 0, **overrides: object) -> Evidence:
    counts = {(true, kind, answer): count for (true, answer), count in matrix.items()}
    fields: dict[str, object] = {"labels": 100, "seen_ms": 0, "counts": counts, "population": NOTHING_KNOWN}
    return Evidence("confusion", **fields | overrides)  # type: ignore[arg-type]  # the tests' own fields


ANA: Matrix = {("cat", "cat"): 45.0, ("cat", "dog"): 5.0, ("dog", "dog"): 30.0, ("dog", "cat"): 20.0}


class TestAccuracy:
    def test_is_a_beta_law(self) -> None:
        """75 of 100 right, and 8 of 10 of the population."""
        ana = summarise([evidence(ANA)])
        assert ana.accuracy == pytest.approx(83 / 110)
        assert ana.accuracy_low == pytest.approx(beta.ppf(0.05, 83, 27))
        assert ana.accuracy_high == pytest.approx(beta.ppf(0.95, 83, 27))
        assert (ana.labels, ana.effective_labels) == (100, 100.0)

    def test_of_a_stranger_is_the_population_s(self) -> None:
        new = summarise([Evidence("confusion", 0, 0, {}, NOTHING_KNOWN)])
        assert (new.accuracy, new.effective_labels, new.spammer_score, new.bias) == (0.8, 0.0, None, None)
        assert new.accuracy_low == pytest.approx(beta.ppf(0.05, 8, 2))

    def test_partitions_and_kinds_of_tasks_add_up(self) -> None:
        halves = [{pair: count / 2 for pair, count in ANA.items()}] * 2
        parts = [evidence(half, kind=kind, labels=50) for kind, half in enumerate(halves)]
        assert summarise(parts) == summarise([evidence(ANA)])

    def test_one_coin_says_no_more_than_accuracy(self) -> None:
        matrix, coin = summarise([evidence(ANA)]), summarise([as_one_coin(evidence(ANA))])
        assert (coin.accuracy, coin.accuracy_low, coin.accuracy_high) == matrix[3:6]
        assert coin._replace(accuracy=None, accuracy_low=None, accuracy_high=None) == Reliability(
            "one_coin", 100, effective_labels=100.0
        )

    def test_one_who_is_always_wrong_is_no_error(self) -> None:
        wrong = summarise([Evidence("one_coin", 50, 0, {(RIGHT, 0, RIGHT): 0.0, (RIGHT, 0, WRONG): 50.0})])
        assert wrong.accuracy is not None
        assert 0 < wrong.accuracy < 0.3

    def test_nothing_cannot_be_summarised(self) -> None:
        with pytest.raises(ValueError, match="no evidence"):
            summarise([])


class TestSpammerScore:
    def test_two_classes_by_hand(self) -> None:
        """Rows (cat .9 .1) and (dog .4 .6), of 50 answers each, with two of the one-coin form (.755 right) in each.

        cat: (45 + 2 x .7545) / 52 = .8944; dog: (20 + 2 x .2455) / 52 = .3941. Squared distance of the rows
        2 x .5003^2 = .5006, over K (K - 1) = 2: .2503.
        """
        accuracy = 83 / 110
        cat, dog = (45 + 2 * accuracy) / 52, (20 + 2 * (1 - accuracy)) / 52
        assert ROW_PRIOR == 2.0
        assert spammer_score(ANA, accuracy) == pytest.approx((cat - dog) ** 2)
        assert summarise([evidence(ANA)]).spammer_score == pytest.approx(0.2503, abs=1e-4)

    def test_three_classes_by_hand(self) -> None:
        """Raykar and Yu, equation 7: 1 / (K (K - 1)) x the squared distances of the pairs of rows.

        a and b are never told apart, c always is told: rows (.5 .5 0), (.5 .5 0), (0 0 1): pairs 0, 1.5, 1.5; 3 / 6.
        """
        many = 1e9
        matrix = {("a", "a"): many, ("a", "b"): many, ("b", "a"): many, ("b", "b"): many, ("c", "c"): many}
        assert spammer_score(matrix, 0.7) == pytest.approx(0.5)

    def test_wrong_in_a_predictable_way_is_not_spam(self) -> None:
        assert spammer_score({("a", "b"): 1e9, ("b", "a"): 1e9}, 0.5) == pytest.approx(1.0)

    @pytest.mark.parametrize("always", [("a", 1.0), ("b", 0.25)])
    def test_who_does_not_look_scores_nothing(self, always: tuple[str, float]) -> None:
        label, share = always
        matrix = {(true, label): 1e9 * share for true in "abc"} | {(true, "c"): 1e9 * (1 - share) for true in "abc"}
        assert spammer_score(matrix, 0.33) == pytest.approx(0.0, abs=1e-6)

    def test_of_one_class_there_is_none(self) -> None:
        assert summarise([evidence({("cat", "cat"): 10.0})]).spammer_score is None


class TestBias:
    def test_is_the_excess_share_of_a_class(self) -> None:
        """65 of 100 answers are cat, and 50 tasks are."""
        ana = summarise([evidence(ANA)])
        assert (ana.bias_label, ana.bias) == ("cat", pytest.approx(0.15))

    def test_errors_that_balance_are_none(self) -> None:
        even = {("cat", "cat"): 40.0, ("cat", "dog"): 10.0, ("dog", "dog"): 40.0, ("dog", "cat"): 10.0}
        found = summarise([evidence(even)])
        assert (found.bias_label, found.bias) == ("", 0.0)


class TestMostConfused:
    def test_is_the_pair_with_the_most_answers(self) -> None:
        matrix = {**ANA, ("emu", "emu"): 1.0, ("emu", "cat"): 2.0}
        ana = summarise([evidence(matrix)])
        assert (ana.confused_true, ana.confused_answer, ana.confused_share) == ("dog", "cat", pytest.approx(0.4))

    def test_less_than_one_answer_has_no_name(self) -> None:
        ana = summarise([evidence({("cat", "cat"): 50.0, ("cat", "dog"): 0.99, ("dog", "dog"): 5.0})])
        assert (ana.confused_true, ana.confused_answer, ana.confused_share) == ("", "", None)
        ana = summarise([evidence({("cat", "cat"): 50.0, ("cat", "dog"): 1.0, ("dog", "dog"): 5.0})])
        assert (ana.confused_true, ana.confused_answer, ana.confused_share) == ("cat", "dog", pytest.approx(1 / 51))

    def test_the_matrix_itself_is_there(self) -> None:
        ana = summarise([evidence(ANA), evidence({("cat", "dog"): 1.0}, kind=1)])
        assert ana.confusion == (("cat", "cat", 45.0), ("cat", "dog", 6.0), ("dog", "cat", 20.0), ("dog", "dog", 30.0))
