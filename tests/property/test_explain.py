"""What must hold of every explanation, whatever was answered."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from detectors.explain import DIMENSIONS, Explanation, Row, Totals, Verdict, explain, without
from detectors.explain.decompose import Share

LABELERS = {"ann": "acme", "bob": "acme", "cy": "acme", "di": "zeta", "ed": "zeta", "flo": "zeta"}


@st.composite
def counts(draw: st.DrawFn) -> Totals:
    n = draw(st.integers(0, 40))
    return Totals(n, draw(st.integers(0, n)))


@st.composite
def sums(draw: st.DrawFn) -> Totals:
    values = draw(st.lists(st.floats(0, 1_000).map(lambda v: round(v, 3)), max_size=4))
    return Totals(len(values), math.fsum(values), math.fsum(v * v for v in values))


def tables(totals: st.SearchStrategy[Totals]) -> st.SearchStrategy[list[Row]]:
    one = st.builds(
        lambda labeler, before, after, kind, true, answer, hour: Row(
            labeler, LABELERS[labeler], before, after, kind, true, answer, hour
        ),
        st.sampled_from(sorted(LABELERS)),
        totals,
        totals,
        st.sampled_from(["text", "audio"]),
        st.sampled_from(["cat", "dog"]),
        st.sampled_from(["cat", "dog", "owl"]),
        st.sampled_from(["09", "10"]),
    )
    full = st.lists(one, min_size=1, max_size=25)
    return full.filter(lambda rows: any(r.before.weight for r in rows) and any(r.after.weight for r in rows))


class Near(float):
    """Equal to what is nearly the same: rounded, two that are would differ where one is just below a half."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and abs(self - other) <= 1e-9

    __hash__ = None  # type: ignore[assignment]  # equality is not transitive


def facts(why: Explanation) -> Any:
    """An explanation, to compare two."""
    return (
        Near(why.rate),
        Near(why.mix),
        {d: [(c.value, Near(c.rate), Near(c.mix)) for c in sorted(of)] for d, of in why.contributions.items()},
        (why.cause.verdict, why.cause.named),
    )


@given(st.one_of(tables(counts()), tables(sums())))
@settings(deadline=None, max_examples=60)
def test_every_dimension_adds_up_to_the_change(rows: list[Row]) -> None:
    why = explain(rows)
    tolerance = 1e-9 * max(1.0, abs(why.before), abs(why.after))
    assert why.rate + why.mix == pytest.approx(why.change, abs=tolerance)
    for dimension in DIMENSIONS:
        assert math.fsum(c.total for c in why.contributions[dimension]) == pytest.approx(why.change, abs=tolerance)
        assert math.fsum(c.rate for c in why.contributions[dimension]) == pytest.approx(why.rate, abs=tolerance)


@given(tables(counts()))
@settings(deadline=None, max_examples=30)
def test_vendors_are_the_sum_of_their_labelers(rows: list[Row]) -> None:
    why = explain(rows)
    for vendor in why.contributions["vendor"]:
        labelers = [c for c in why.contributions["labeler"] if LABELERS[c.value] == vendor.value]
        assert math.fsum(c.rate for c in labelers) == pytest.approx(vendor.rate, abs=1e-9)
        assert math.fsum(c.mix for c in labelers) == pytest.approx(vendor.mix, abs=1e-9)


@given(tables(counts()), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=30)
def test_the_order_of_rows_and_how_they_are_cut_do_not_matter(rows: list[Row], random: Any) -> None:
    whole = explain(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert explain(shuffled) == whole
    cut = [r._replace(before=Totals()) for r in rows] + [r._replace(after=Totals()) for r in rows]
    assert facts(explain(cut)) == facts(whole)
    merged = [r._replace(hour="") for r in rows]
    assert facts(explain(merged))[2]["labeler"] == facts(whole)[2]["labeler"]


@given(tables(counts()), st.integers(2, 50))
@settings(deadline=None, max_examples=30)
def test_ten_times_the_answers_are_the_same_contributions(rows: list[Row], times: int) -> None:
    def scaled(totals: Totals) -> Totals:
        return Totals(totals.weight * times, totals.value * times)

    more = explain([r._replace(before=scaled(r.before), after=scaled(r.after)) for r in rows])
    assert facts(more)[:3] == facts(explain(rows))[:3]


@given(tables(counts()))
@settings(deadline=None, max_examples=30)
def test_backwards_is_the_change_undone(rows: list[Row]) -> None:
    stayed = {r.labeler for r in rows if r.before.weight} & {r.labeler for r in rows if r.after.weight}
    kept = [r for r in rows if r.labeler in stayed]
    assume(kept)
    there, back = explain(kept), explain([r._replace(before=r.after, after=r.before) for r in kept])
    for one, other in zip(
        sorted(there.contributions["labeler"], key=lambda c: c.value),
        sorted(back.contributions["labeler"], key=lambda c: c.value),
        strict=True,
    ):
        assert (one.rate, one.mix) == (pytest.approx(-other.rate, abs=1e-9), pytest.approx(-other.mix, abs=1e-9))


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_pure_mix_shift_is_blamed_on_nobody(data: st.DataObject) -> None:
    """Every labeler is as good as before at each class of each task type, and anything else may change."""
    rows = []
    answers = st.integers(0, 2_000)
    for labeler, vendor in LABELERS.items():
        was_here = False
        for kind in ("text", "audio"):
            for true in ("cat", "dog"):
                rate = data.draw(st.integers(0, 20)) / 20
                before, after = data.draw(answers), data.draw(answers)
                was_here = was_here or before > 0
                rows.append(
                    Row(labeler, vendor, Totals(before, before * rate), Totals(after, after * rate), kind, true)
                )
        assume(was_here)
    assume(any(r.after.weight for r in rows))
    why = explain(rows)
    assert why.cause.verdict in (Verdict.MIX, Verdict.UNCLEAR)
    for dimension in DIMENSIONS:
        assert all(abs(c.rate) <= 1e-9 for c in why.contributions[dimension])
    for labeler in why.contributions["labeler"]:
        assert not labeler.beyond_chance
    if abs(why.change) > 2 * why.mix_error + 1e-9:
        assert why.cause.verdict is Verdict.MIX


@given(st.lists(counts(), min_size=1, max_size=8), st.floats(0, 1))
@settings(deadline=None, max_examples=60)
def test_no_smaller_set_brings_the_metric_back(after: list[Totals], edge: float) -> None:
    shares = [Share(str(n), 0.0, 0.0, Totals(), totals) for n, totals in enumerate(after)]
    assume(sum(t.weight for t in after) > 0)
    found = without(shares, (edge, 1.0), most=8)
    if found is None or not found.in_band:
        return
    total = sum(t.weight for t in after)
    for chosen in range(1 << len(after)):
        kept = [t for n, t in enumerate(after) if not chosen >> n & 1]
        answers = sum(t.weight for t in kept)
        if answers >= total / 2 and answers and sum(t.value for t in kept) / answers >= edge + 1e-9:
            assert chosen.bit_count() >= len(found.values) or answers < found.answers
