"""What is read, and that everything wrong with a file is said with where it is and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from streams.evaluate.dataset import Dataset, GivenLabel
from streams.evaluate.label_files import Read, read_dataset
from streams.sources.source import SourceError

LABELS = "item,worker,label\n1,ann,cat\n1,bob,dog\n2,ann,cat\n"
TRUTH = "item,truth\n1,cat\n"


def read(folder: Path, labels: str = LABELS, truth: str = TRUTH) -> Read:
    (folder / "label.csv").write_text(labels, "utf-8")
    (folder / "truth.csv").write_text(truth, "utf-8")
    return read_dataset(folder / "label.csv", folder / "truth.csv")


def test_labels_and_truth(tmp_path: Path) -> None:
    data = read(tmp_path).dataset
    assert [given[:3] for given in data.labels] == [("1", "ann", "cat"), ("1", "bob", "dog"), ("2", "ann", "cat")]
    assert data.truth == {"1": "cat"}
    assert (data.tasks, data.labelers, data.classes) == (("1", "2"), ("ann", "bob"), ("cat", "dog"))
    assert data.labeler_accuracy == {"ann": 1.0, "bob": 0.0}


def test_gzip_columns_in_another_order_and_more_of_them(tmp_path: Path) -> None:
    labels, truth = tmp_path / "label.csv.gz", tmp_path / "truth.csv.gz"
    labels.write_bytes(gzip.compress(b"label,note,worker,seconds,item\ncat,x,ann,,1\ndog,y,bob,2.5,1\n"))
    truth.write_bytes(gzip.compress(b"truth,item\ncat,1\n"))
    ann, bob = read_dataset(labels, truth).dataset.labels
    assert (ann[:3], ann.seconds) == (("1", "ann", "cat"), None)
    assert (bob[:3], bob.seconds) == (("1", "bob", "dog"), 2.5)


def test_times_are_the_files_or_else_a_second_apart(tmp_path: Path) -> None:
    timed = "item,worker,label,time\n1,ann,cat,2026-01-05T09:00:00Z\n1,bob,dog,2026-01-05T10:00:00+01:00\n"
    assert [given.at_ms for given in read(tmp_path, timed).dataset.labels] == [1767603600000, 1767603600000]
    first, second, _ = (given.at_ms for given in read(tmp_path).dataset.labels)
    assert second - first == 1_000


def test_only_the_first_label_of_a_worker_on_an_item_counts(tmp_path: Path) -> None:
    found = read(tmp_path, LABELS + "1,ann,dog\n")
    assert found.repeated == 1
    assert [given.label for given in found.dataset.labels if given[:2] == ("1", "ann")] == ["cat"]


@pytest.mark.parametrize(
    ("labels", "truth", "said"),
    [
        ("", TRUTH, "label.csv: empty, there is not even a header"),
        ("item,worker,label\n", TRUTH, "label.csv: empty, there is no row below the header"),
        ("task,worker,label\n1,a,b\n", TRUTH, "label.csv, header: no column 'item'; the file has: task, worker, label"),
        (LABELS, "item,label\n1,cat\n", "truth.csv, header: no column 'truth'; the file has: item, label"),
        (LABELS, "item,truth\n", "truth.csv: empty, there is no row below the header"),
        (LABELS + "2,bob\n", TRUTH, "label.csv, row 4: row has 2 values, the header has 3"),
        (LABELS + "2, ,dog\n", TRUTH, "label.csv, row 4, column worker: blank"),
        (LABELS + '2,"bob,dog\n', TRUTH, "not a delimited table"),
        (LABELS, TRUTH + "7,cat\n", "truth.csv, row 2, column item: '7' has no label in"),
        (LABELS, TRUTH + "1,dog\n", "truth.csv, row 2, column truth: 'dog', but an earlier row has 'cat' for '1'"),
        ("item,worker,label,seconds\n1,ann,cat,inf\n", TRUTH, "row 1, column seconds: 'inf' is not a finite number"),
        ("item,worker,label,seconds\n1,ann,cat,1e999\n", TRUTH, "row 1, column seconds: '1e999' is not a finite"),
        ("item,worker,label,seconds\n1,ann,cat,-3\n", TRUTH, "row 1, column seconds: '-3' is not a finite number"),
        ("item,worker,label,time\n1,ann,cat,monday\n", TRUTH, "row 1, column time: not an ISO 8601 time: 'monday'"),
        ("item,worker,label,time\n1,ann,cat,2026-01-05T09:00:00\n", TRUTH, "row 1, column time: time has no zone"),
        (
            "item,worker,label\n1,ann,cat\n1,bob,cat\n",
            TRUTH,
            "column label: always 'cat', so there is nothing to decide",
        ),
    ],
)
def test_what_is_wrong_is_said_with_where(tmp_path: Path, labels: str, truth: str, said: str) -> None:
    with pytest.raises(SourceError) as refused:
        read(tmp_path, labels, truth)
    assert said in str(refused.value)
    assert str(tmp_path) in str(refused.value)


def test_a_broken_gzip_file_is_said_to_be_one(tmp_path: Path) -> None:
    labels = tmp_path / "label.csv.gz"
    labels.write_bytes(gzip.compress(LABELS.encode())[:-9])
    with pytest.raises(SourceError, match="not a whole gzip file"):
        read_dataset(labels, labels)


def data(count: int) -> Dataset:
    labels = tuple(GivenLabel(str(n // 2), str(n % 7), "ab"[n % 2], n * 10) for n in range(count))
    return Dataset(labels, {str(n): "a" for n in range(count // 2)})


def test_shuffling_is_by_seed_and_keeps_event_time_in_order() -> None:
    before = data(40)
    first, again, other = before.shuffled(1), before.shuffled(1), before.shuffled(2)
    assert first == again
    assert first != other
    assert sorted(given[:3] for given in first.labels) == sorted(given[:3] for given in before.labels)
    assert [given.at_ms for given in first.labels] == [given.at_ms for given in before.labels]
    assert first.labels != before.labels


def test_golds_are_by_seed_and_leave_half_of_the_truth_to_measure_by() -> None:
    before = data(40)
    assert len(before.golds(5, seed=1)) == 5
    assert before.golds(5, seed=1) == before.golds(5, seed=1) != before.golds(5, seed=2)
    assert before.golds(5, seed=1) == before.shuffled(3).golds(5, seed=1)
    assert len(before.golds(200, seed=1)) == 10
    assert before.golds(0, seed=1) == frozenset()
