"""What every method of change detection keeps to: one suite over all of them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.change.baselines import Always, LastUnder
from detectors.change.cusum import BernoulliCusum, GaussianCusum
from detectors.change.e_process import EProcess, Learning
from detectors.change.finding import Finding, State
from detectors.change.river_adapters import Adwin, Kswin, PageHinkleyMethod
from detectors.change.seasonal import HOUR_MS, Seasonal
from detectors.change.sparse import SparseProcess
from detectors.change.threshold import FixedThreshold

HOUR_OF_MONDAY = 96 * HOUR_MS


def answer(rng: random.Random, at: int, bad: bool) -> float:
    """Right with .92, and .5 when bad."""
    return float(rng.random() < (0.5 if bad else 0.92))


def share(rng: random.Random, at: int, bad: bool) -> float:
    """A number from 0 to 1 around .92, or .5."""
    return min(max(rng.gauss(0.5 if bad else 0.9, 0.05), 0.0), 1.0)


def hourly(rng: random.Random, at: int, bad: bool) -> float:
    """A number that follows the hour, or half of it."""
    return (100 + 30 * (at % 24 > 8) + rng.gauss(0, 5)) * (0.5 if bad else 1.0)


@dataclass(frozen=True)
class Case:
    """A method, values for it, after how many the level drops, and within how many it must be found."""

    method: Any
    value: Callable[[random.Random, int, bool], float]
    worst: float = 0.0
    calm: int = 200
    within: int = 60
    mirror: Callable[[Any], Any] | None = None
    """The method for rising, where there is one."""

    def times(self, count: int) -> list[int]:
        return [HOUR_OF_MONDAY + at * HOUR_MS for at in range(count)]

    def stream(self, seed: int, count: int | None = None) -> list[tuple[float, int]]:
        """In control, then a drop; pairs of value and time."""
        rng = random.Random(seed)
        times = self.times(count or self.calm + self.within)
        return [(self.value(rng, at, at >= self.calm), at_ms) for at, at_ms in enumerate(times)]


def up(method: Any) -> Any:
    return replace(method, direction="up")


def up_at(field: str) -> Callable[[Any], Any]:
    return lambda method: replace(method, **{"direction": "up", field: 1.0 - getattr(method, field)})


CASES = {
    "e_sr": Case(EProcess(7_000, 0.92, min_count=5), answer, mirror=up_at("level")),
    "e_sr_of_shares": Case(EProcess(7_000, 0.9, variance=0.01), share, mirror=up_at("level")),
    "e_sr_learned": Case(EProcess(7_000, 0.9, learning=Learning(25, 50, 30, 500)), answer, mirror=up_at("level")),
    "e_cusum": Case(EProcess(600, 0.92, form="cusum"), answer, mirror=up_at("level")),
    "e_sparse": Case(SparseProcess(7_000, 0.92, min_count=5), answer, mirror=up_at("level")),
    "bernoulli_cusum": Case(BernoulliCusum(46, 7, 0.92, min_count=20), answer, mirror=up_at("level")),
    "gaussian_cusum": Case(GaussianCusum(6.0, 0.9, 0.05, min_count=3), share, worst=-9.0, mirror=up_at("mean")),
    "fixed_threshold": Case(FixedThreshold(0.8, 20), answer, mirror=up_at("limit")),
    "seasonal": Case(Seasonal(5.0), hourly, worst=-1e9, calm=400),
    "adwin": Case(Adwin(0.4), answer, within=80, mirror=up),
    "page_hinkley": Case(PageHinkleyMethod(6.0), answer, mirror=up),
    "kswin": Case(Kswin(0.002, 40, 15), share, worst=-9.0, calm=90, mirror=up),
    "last_under": Case(LastUnder(10, 0.7), answer),
    "always": Case(Always(30), answer),
}
LEARNS = {"e_sparse", "seasonal", "adwin", "page_hinkley", "kswin"}
POOLED = ["e_sr", "e_sr_learned", "e_cusum", "bernoulli_cusum", "fixed_threshold"]


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def case(name: str) -> Case:
    return CASES[name]


def run(detector: Any, stream: list[tuple[float, int]]) -> list[Finding | None]:
    return [detector.update(value, at_ms) for value, at_ms in stream]


def stored(state: State) -> State:
    """As it comes back from a database."""
    back: State = json.loads(json.dumps(state, allow_nan=False))
    return back


def test_there_is_no_finding_before_min_count(name: str, case: Case) -> None:
    detector = case.method.build()
    found = [detector.update(case.worst, at_ms) for at_ms in case.times(400)]
    first = next((number for number, finding in enumerate(found, 1) if finding), math.inf)
    assert case.method.min_count <= first
    assert (first == math.inf) == (name in LEARNS), "what never changes is no drop to who knows no level"


def test_a_state_stored_at_any_point_goes_on_as_if_nothing_had_been(case: Case) -> None:
    stream = case.stream(1)
    whole = case.method.build()
    expected = run(whole, stream)
    for cut in range(0, len(stream), 37):
        first = case.method.build()
        found = run(first, stream[:cut])
        second = case.method.build(stored(first.dump()))
        assert second.statistic == first.statistic
        assert found + run(second, stream[cut:]) == expected
        assert second.dump() == whole.dump()


def test_the_same_values_give_the_same_findings(case: Case) -> None:
    stream = case.stream(2)
    assert run(case.method.build(), stream) == run(case.method.build(), stream)


def test_a_clear_drop_is_found_and_said_where(name: str, case: Case) -> None:
    off = []
    for seed in range(2 if name == "seasonal" else 7):
        stream = case.stream(seed)
        detector = case.method.build()
        run(detector, stream[: case.calm])
        finding = next(filter(None, run(detector, stream[case.calm :])), None)
        assert finding is not None
        assert finding.direction == "down"
        assert math.isfinite(finding.statistic)
        assert finding.answers > 0
        assert stream[0][1] <= finding.since_ms <= finding.at_ms
        assert finding.at_ms in {at_ms for _, at_ms in stream[case.calm :]}
        assert finding.level < finding.baseline or name == "always"
        off.append(abs((finding.since_ms - HOUR_OF_MONDAY) // HOUR_MS - case.calm))
    sums = {"e_sr_of_shares", "bernoulli_cusum", "page_hinkley"}  # tuned to small drops, they date a large one early
    assert sorted(off)[len(off) // 2] <= (20 if name in sums | {"always"} else 6), "dated within a few values"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.mirror], indirect=True)
def test_rising_is_bad_where_the_rule_says_so(case: Case) -> None:
    stream = case.stream(4)
    assert case.mirror is not None
    method = case.mirror(case.method)
    mirrored = run(method.build(), [(1.0 - value, at_ms) for value, at_ms in stream])
    found = run(case.method.build(), stream)
    assert [one and one.at_ms for one in mirrored] == [one and one.at_ms for one in found]
    for one, other in zip(mirrored, found, strict=True):
        if one and other:
            assert one.direction == "up"
            assert one.level == pytest.approx(1.0 - other.level)
            assert (one.since_ms, one.answers) == (other.since_ms, other.answers)


def test_a_change_for_the_better_is_no_finding(name: str, case: Case) -> None:
    if not case.mirror or name == "kswin":
        return
    rng = random.Random(5)
    fall = [(1.0 - case.value(rng, at, at >= 100), at_ms) for at, at_ms in enumerate(case.times(160))]
    found = run(
        up(case.method).build() if name in {"adwin", "page_hinkley"} else case.mirror(case.method).build(), fall
    )
    assert any(found), "it rises where rising is bad"
    good = [(case.value(rng, at, at < 100), at_ms) for at, at_ms in enumerate(case.times(160))]
    assert not any(run(case.method.build(), good)[130:])


def test_a_finding_begins_anew(name: str, case: Case) -> None:
    detector = case.method.build()
    rng = random.Random(6)
    for value, at_ms in case.stream(6):
        finding = detector.update(value, at_ms)
        if finding and at_ms >= case.calm:
            break
    else:
        pytest.fail("nothing was found")
    calm = [detector.update(case.value(rng, at, False), at_ms + at * HOUR_MS) for at in range(1, 20)]
    assert not any(calm), "the same evidence does not count twice"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused_and_changes_nothing(case: Case, value: float) -> None:
    stream = case.stream(7)[:70]
    detector, other = case.method.build(), case.method.build()
    run(detector, stream)
    run(other, stream)
    with pytest.raises(ValueError, match="must be"):
        detector.update(value, stream[-1][1])
    assert detector.dump() == other.dump()


@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_what_is_out_of_range_is_refused(name: str, case: Case, value: float) -> None:
    if name in {"gaussian_cusum", "fixed_threshold", "seasonal", "kswin"}:
        case.method.build().update(value, 0)
        return
    with pytest.raises(ValueError, match="must be"):
        case.method.build().update(value, 0)


def test_a_dumped_state_is_not_the_detectors_own(case: Case) -> None:
    stream = case.stream(8)
    detector = case.method.build()
    run(detector, stream[:60])
    dumped = detector.dump()
    before = stored(dumped)
    restored = case.method.build(dumped)
    run(detector, stream[60:90])
    run(restored, stream[60:90])
    assert dumped == before


def test_state_does_not_grow_without_end(name: str, case: Case) -> None:
    detector = case.method.build()
    sizes = []
    values = 600 if name in {"seasonal", "kswin"} else 3_500
    for value, at_ms in replace(case, calm=10_000).stream(9, values):
        detector.update(value, at_ms)
        sizes.append(len(detector.dump()[0]) if name in {"adwin", "kswin"} else 0)
    assert max(sizes) <= 1_000
    assert len(json.dumps(detector.dump())) < 50_000


@pytest.mark.parametrize("name", POOLED, indirect=True)
class TestCounts:
    def test_one_answer_is_one_of_one(self, case: Case) -> None:
        one, other = case.method.build(), case.method.build()
        for value, at_ms in case.stream(10):
            found, also = one.update(value, at_ms), other.update_counts(int(value), 1, at_ms)
            assert (found is None) == (also is None)
            if found:
                assert found._replace(statistic=0.0, e_value=None) == also._replace(statistic=0.0, e_value=None)
            assert one.statistic == pytest.approx(other.statistic, rel=1e-9)

    def test_a_drop_is_found_in_counts(self, case: Case) -> None:
        detector = case.method.build()
        assert not any(detector.update_counts(18 + minute % 3, 20, minute) for minute in range(60))
        found = [detector.update_counts(12, 20, minute) for minute in range(60, 66)]
        finding = next(filter(None, found))
        assert finding.level == pytest.approx(0.6)
        assert finding.since_ms == 60

    def test_nothing_seen_is_nothing(self, case: Case) -> None:
        detector = case.method.build()
        before = detector.dump()
        assert detector.update_counts(0, 0, 1) is None
        assert detector.dump() == before

    @pytest.mark.parametrize(("right", "seen"), [(2, 1), (-1, 1), (0, -1), (0.5, 1), (1, math.nan)])
    def test_impossible_counts_are_refused(self, case: Case, right: float, seen: float) -> None:
        with pytest.raises(ValueError, match="not counts"):
            case.method.build().update_counts(right, seen, 1)


QUICK = ["e_sr", "e_sr_learned", "e_cusum", "bernoulli_cusum", "fixed_threshold", "adwin", "page_hinkley", "last_under"]


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(QUICK), st.lists(st.booleans(), max_size=150), st.data())
def test_any_answers_cut_anywhere(name: str, answers: list[bool], data: st.DataObject) -> None:
    method = CASES[name].method
    cut = data.draw(st.integers(0, len(answers)))
    stream = [(float(right), number) for number, right in enumerate(answers)]
    whole, first = method.build(), method.build()
    expected = run(whole, stream)
    found = run(first, stream[:cut])
    second = method.build(stored(first.dump()))
    assert found + run(second, stream[cut:]) == expected
    assert second.dump() == whole.dump()
    for number, finding in enumerate(expected, 1):
        assert finding is None or number >= method.min_count


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30), st.sampled_from(POOLED))
def test_any_counts_leave_a_state_that_can_be_stored(counts: list[tuple[int, int]], name: str) -> None:
    detector = CASES[name].method.build()
    for at_ms, (right, wrong) in enumerate(counts):
        finding = detector.update_counts(right, right + wrong, at_ms)
        assert finding is None or (0.0 <= finding.level <= 1.0 and finding.since_ms <= at_ms)
    stored(detector.dump())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: EProcess(7_000, 1.0), "level must be"),
        (lambda: EProcess(7_000, 0.92, smallest_drop=0.92), "smallest_drop must be"),
        (lambda: EProcess(1.0, 0.92), "threshold must be"),
        (lambda: EProcess(7_000, 0.92, variance=0.3), "variance must be"),
        (lambda: EProcess(7_000, 0.92, min_count=-1), "min_count must"),
        (lambda: EProcess(7_000, 0.92, learning=Learning(25, 50, memory=10)), "memory must be"),
        (lambda: EProcess(7_000, 0.92, direction="sideways"), "direction must be"),  # type: ignore[arg-type]
        (lambda: EProcess(7_000, 0.92, learning=Learning(lag=-1)), "lag must"),
        (lambda: BernoulliCusum(0, 7, 0.92), "threshold must be"),
        (lambda: GaussianCusum(4.0, math.nan, 1.0), "mean must be"),
        (lambda: GaussianCusum(4.0, 0.0, 0.0), "deviation must be"),
        (lambda: FixedThreshold(math.nan), "limit must be"),
        (lambda: FixedThreshold(0.8, 0), "min_count must be"),
        (lambda: Seasonal(5.0, min_count=1), "min_count must be"),
        (lambda: Adwin(0.0), "delta must be"),
        (lambda: PageHinkleyMethod(0.0), "threshold must be"),
        (lambda: Kswin(0.01, window=20, latest=15), "latest values twice"),
        (lambda: LastUnder(0), "count must be"),
        (lambda: Always(0), "every must be"),
    ],
)
def test_wrong_configuration_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()
