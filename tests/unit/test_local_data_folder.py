"""A data folder is deleted only where a stack made it, and only while no stack has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.local import data_folder
from deploy.local.stack import EmbeddedStack
from deploy.local.stack_state import StackError, StackRunningError
from streams.cli import cli


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of somebody else, with names that a stack uses, too."""
    for name in ("kafka", "clickhouse"):
        (tmp_path / "foreign" / name).mkdir(parents=True)
        (tmp_path / "foreign" / name / "precious").write_text("kept", encoding="utf-8")
    return tmp_path / "foreign"


def contents(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_what_a_stack_stored_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    folder = tmp_path / "lw"
    data_folder.claim(folder)
    (folder / "kafka").mkdir()
    (folder / "clickhouse").symlink_to(other)
    (folder / "notes.txt").write_text("kept", encoding="utf-8")
    assert data_folder.empty(folder) == ["clickhouse", "kafka"]
    assert contents(folder) == ["notes.txt"]
    assert other.is_dir()
    data_folder.claim(folder)
    (folder / "notes.txt").unlink()
    assert data_folder.empty(folder) == []
    assert not folder.exists()


def test_others_folders_are_neither_wiped_nor_adopted(foreign: Path) -> None:
    before = contents(foreign)
    code, output = run("down", "--wipe", "--data-dir", foreign)
    assert code == 1
    assert "was not made by labelwatch" in output
    assert "nothing was deleted" in output
    code, output = run("up", "--detach", "--data-dir", foreign)
    assert code == 1
    assert "holds clickhouse and kafka, which labelwatch did not make; choose another --data-dir" in output
    with pytest.raises(StackError, match="did not make"):
        EmbeddedStack(foreign, 0, 0).start()
    assert contents(foreign) == before


def test_wipe_says_what_it_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "lw"
    assert run("down", "--wipe", "--data-dir", folder)[1].endswith("There was nothing to delete.")
    data_folder.claim(folder)
    (folder / "kafka").mkdir()
    (folder / "logs").mkdir()
    assert run("down", "--wipe", "--data-dir", folder)[1].endswith("lw: kafka, logs.")
    assert not folder.exists()


@pytest.mark.parametrize("purpose", ["stack", "demo"])
def test_nothing_is_deleted_under_a_stack_that_starts(tmp_path: Path, purpose: data_folder.Purpose) -> None:
    folder = tmp_path / "lw"
    data_folder.claim(folder, purpose)
    (folder / "kafka").mkdir()
    before = contents(folder)
    with data_folder.lock(folder):
        assert data_folder.is_busy(folder)
        with pytest.raises(StackRunningError, match=f"labelwatch down --data-dir {folder}"):
            data_folder.empty(folder, wait_seconds=0.1)
        assert run("down", "--wipe", "--data-dir", folder)[0] == 1
        code, output = run("demo", "--data-dir", folder)
        assert code == 1
        assert f"a stack runs in {folder}" in output
        assert f"labelwatch down --data-dir {folder}" in output
    assert contents(folder) == before
    assert not data_folder.is_busy(folder)


def test_a_demo_empties_only_what_a_demo_made(tmp_path: Path, foreign: Path) -> None:
    mine = tmp_path / "mine"
    data_folder.claim(mine)
    (mine / "kafka").mkdir()
    for folder in (mine, foreign):
        before = contents(folder)
        code, output = run("demo", "--data-dir", folder)
        assert code == 1
        assert "holds something else than a demo's data; choose another --data-dir" in output
        assert contents(folder) == before


def test_a_wiped_demo_leaves_no_truth_behind(tmp_path: Path) -> None:
    data_folder.claim(tmp_path / "demo", "demo")
    data_folder.claim(tmp_path / "demo")  # as `up` on its data does
    (tmp_path / "demo" / "truth.json").write_text("{}", encoding="utf-8")
    assert data_folder.empty(tmp_path / "demo") == ["truth.json"]
    assert not (tmp_path / "demo").exists()


def test_a_lock_on_a_deleted_file_is_not_a_lock(tmp_path: Path) -> None:
    data_folder.claim(tmp_path)
    with data_folder.lock(tmp_path):
        (tmp_path / data_folder.LOCK_NAME).unlink()
        data_folder.claim(tmp_path)
        with data_folder.lock(tmp_path), pytest.raises(StackRunningError):
            data_folder.lock(tmp_path)


@pytest.mark.parametrize("command", [["up"], ["up", "--detach"], ["demo"]])
def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    folder = tmp_path / "file" / "data"
    code, output = run(*command, "--data-dir", folder)
    assert code == 1
    assert f"cannot create {folder}: Not a directory; choose another --data-dir" in output
