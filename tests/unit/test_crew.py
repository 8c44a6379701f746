"""What agreement is to be expected of those who are at work: a change of crew is no change of quality."""

from __future__ import annotations

import pytest

from detectors.watch import crew
from detectors.watch.crew import Crews, Expected
from detectors.watch.watch import Watch
from schemas.measurements import Answer
from tests.measured import SEGMENT, answer, kinds, rule, told, watching

DAY = ("ann", "bob", "eve", "fay")
NIGHT = ("cy", "di")
BEFORE = 12_000
"""Answers, ten days of them: of each 1,200 the last 200 are the night's."""
AGREEMENT = rule("consensus_agreement", scope="segment")


def shifts(count: int = BEFORE, *, night_wrong: int = 4, last_wrong: int = 4) -> list[Answer]:
    """By day one of 11 does not agree, at night one of ``night_wrong``, in the last night one of ``last_wrong``."""
    found = []
    for number in range(count):
        is_night = number % 1_200 >= 1_000
        wrong = last_wrong if number >= count - 200 else night_wrong
        labeler = NIGHT[number // 7 % 2] if is_night else DAY[number % 4]
        found.append(answer(number, labeler_id=labeler, agrees=number % (wrong if is_night else 11) != 0, peers=1))
    return found


def see(crews: Crews, labeler_id: str, agrees: bool, *, is_learned: bool = True) -> None:
    expected = crews.expected(SEGMENT, labeler_id, 1)
    crews.see(SEGMENT, labeler_id, agrees, expected, is_learned=is_learned)


def learned(answers: list[Answer]) -> Crews:
    crews = Crews()
    for one in answers:
        see(crews, one.labeler_id, bool(one.agrees))
    return crews


class TestExpected:
    def test_strangers_are_as_everybody(self) -> None:
        assert Crews().expected(SEGMENT, "ann", 1) == Expected(1.0, 1.0)

    def test_one_peer_matters_more_than_many(self) -> None:
        crews = learned(shifts())  # the night has the last word
        peers = [crews.expected(SEGMENT, "ann", count).peers for count in (1, 2, 9)]
        assert peers == sorted(peers)
        assert peers[0] < 0.95
        assert peers[2] > 0.98

    def test_of_a_labelers_own_scope_only_the_peers_count(self) -> None:
        one = Expected(own=0.7, peers=0.9)
        assert (round(one.of_all, 2), one.of_labeler) == (0.63, 0.9)

    def test_it_is_within_bounds(self) -> None:
        assert (Expected(0.5, 0.5).of_all, Expected(2.0, 1.0).of_all, Expected(1.0, 0.1).of_labeler) == (0.5, 1.3, 0.5)

    def test_work_is_told_apart_and_vendors_are_not(self) -> None:
        crews = learned(shifts())
        assert crews.expected(("p", "t", "w"), "cy", 1) == crews.expected(SEGMENT, "cy", 1)
        assert crews.expected(("q", "t", "v"), "cy", 1) == crews.expected(("p", "u", "v"), "cy", 1) == (1.0, 1.0)

    def test_nothing_is_learned_of_what_is_not_well(self) -> None:
        crews = learned(shifts())
        before = crews.expected(SEGMENT, "ann", 1).own
        for _ in range(100):
            see(crews, "ann", False, is_learned=False)
        assert crews.expected(SEGMENT, "ann", 1).own == before

    def test_those_seen_longest_ago_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(crew, "MAX_LABELERS", 2)
        crews = Crews()
        for name in ("ann", "bob", "ann", "cy"):
            see(crews, name, False)
        changed = dict(crews.take_changed())
        assert changed[("p", "t", "bob")] is None
        assert [crews.expected(SEGMENT, name, 1).own < 1 for name in ("ann", "bob", "cy")] == [True, False, True]


class TestRules:
    def test_a_weaker_crew_is_no_change(self) -> None:
        assert told(watching(AGREEMENT), shifts()) == []

    def test_it_would_be_one_if_all_were_expected_to_agree_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Crews, "expected", lambda *_: Expected(1.0, 1.0))
        assert kinds(told(watching(AGREEMENT), shifts())) != []

    def test_a_drop_of_the_weaker_crew_is_found(self) -> None:
        (found, *_) = told(watching(AGREEMENT), shifts(last_wrong=2))
        assert found.kind == "breach"
        assert found.figures is not None
        assert found.figures.baseline == pytest.approx(0.88, abs=0.02), "the level of everybody"
        assert found.figures.level < found.figures.baseline - 0.1

    def test_it_is_over_when_they_are_as_usual_though_others_agree_more(self) -> None:
        worse = shifts(last_wrong=2)
        well = [one._replace(sequence=one.sequence + BEFORE) for one in shifts()[-200:]]
        later = [one._replace(submitted_ms=one.submitted_ms + 60_000 * 200) for one in well]
        assert kinds(told(watching(AGREEMENT), [*worse, *later])) == ["breach", "recovered"]

    def test_other_methods_take_the_plain_share(self) -> None:
        fixed = rule("consensus_agreement", scope="segment", method="fixed", limit=0.8, min_count=100)
        assert "breach" in kinds(told(watching(fixed), shifts()))

    def test_what_a_labelers_peers_are_is_no_change_of_the_labeler(self) -> None:
        """Ann is moved to the night, where one peer in four is wrong."""
        moved = [
            one._replace(labeler_id="ann") if number >= BEFORE - 1_200 and number % 3 == 0 else one
            for number, one in enumerate(shifts())
        ]
        of_each = rule("consensus_agreement", scope="labeler")
        assert told(watching(of_each), moved) == []


def test_what_was_learned_is_stored() -> None:
    watch, fresh = watching(AGREEMENT), Watch()
    told(watch, shifts(4_000))
    rows = [(kind, key, payload) for kind, key, payload in watch.take_changed() if payload is not None]
    assert sum(kind == "crew" for kind, _, _ in rows) == len({*DAY, *NIGHT}) + 1
    fresh.change_rules([AGREEMENT])
    fresh.load(rows)
    for name in (*DAY, *NIGHT):
        assert fresh._crews.expected(SEGMENT, name, 1) == watch._crews.expected(SEGMENT, name, 1)
