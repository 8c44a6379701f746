"""Figures by hand, beside what the code makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from streams.evaluate.metrics import auc_worst, brier_score, chance_ece, expected_calibration_error, spearman


def test_ece_by_hand() -> None:
    # Bin .9-1: mean confidence .95, 3 of 4 right: .2 off. Bin .6-.7: .65, 1 of 2 right: .15 off.
    confidences = [0.92, 0.94, 0.96, 0.98, 0.62, 0.68]
    right = [True, True, True, False, True, False]
    assert expected_calibration_error(confidences, right) == pytest.approx((4 * 0.2 + 2 * 0.15) / 6)


def test_ece_bins_do_not_let_errors_cancel_across_them() -> None:
    assert expected_calibration_error([0.75, 0.25], [False, True]) == pytest.approx(0.75)
    assert expected_calibration_error([0.75, 0.25], [False, True], bins=1) == pytest.approx(0.0)


def test_certainty_is_in_the_last_bin_and_a_border_in_the_upper_one() -> None:
    assert expected_calibration_error([1.0, 0.95], [False, True]) == pytest.approx((1.95 - 1) / 2)
    assert expected_calibration_error([1.0], [False]) == 1.0
    assert expected_calibration_error([0.5, 0.45], [True, False]) == pytest.approx((0.5 + 0.45) / 2)


def test_the_ece_of_half_sure_coins_is_what_chance_leaves() -> None:
    # Four coins: mean |heads / 4 - 1/2| = (2 * 1/16 * 1/2 + 2 * 4/16 * 1/4) = .1875
    found = chance_ece([0.5] * 4, np.random.default_rng(3), draws=20_000)
    assert found == pytest.approx(0.1875, abs=0.005)


def test_certain_forecasts_leave_nothing_to_chance() -> None:
    assert chance_ece([1.0] * 5, np.random.default_rng(1)) == 0.0


def test_brier_by_hand() -> None:
    assert brier_score([0.9, 0.2, 0.5], [True, False, True]) == pytest.approx((0.01 + 0.04 + 0.25) / 3)


def test_spearman_by_hand_with_ties() -> None:
    # Ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5, variances 4.5 and 5.
    assert spearman([0.6, 0.6, 0.7, 0.9], [0.1, 0.2, 0.3, 0.4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert spearman([3.0, 2.0, 1.0], [1.0, 2.0, 3.0]) == pytest.approx(-1.0)


def test_recognising_the_worst_fifth_by_hand() -> None:
    truth = [0.1, 0.2, 0.6, 0.7, 0.8, 0.8, 0.9, 0.9, 0.9, 1.0]
    # The worst two are estimated at .5 and .7. Below .5 is nobody, .6 is below .7, one more is at .7.
    estimates = [0.5, 0.7, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]
    assert auc_worst(estimates, truth) == pytest.approx((8 + 6.5) / 16)
    assert auc_worst(truth, truth) == 1.0
    assert auc_worst([-one for one in truth], truth) == 0.0


def test_who_is_as_bad_as_the_worst_is_one_of_them() -> None:
    assert auc_worst([0.1, 0.2, 0.9, 0.9, 0.9], [0.3, 0.3, 0.8, 0.8, 0.8]) == 1.0


def test_without_anything_to_measure_by_there_is_no_figure() -> None:
    assert expected_calibration_error([], []) is None
    assert chance_ece([], np.random.default_rng(1)) is None
    assert brier_score([], []) is None
    assert spearman([0.7, 0.7, 0.7], [0.1, 0.2, 0.3]) is None
    assert spearman([0.1, 0.2], [0.9, 0.9]) is None
    assert auc_worst([], []) is None
    assert auc_worst([0.1, 0.2], [0.9, 0.9]) is None
