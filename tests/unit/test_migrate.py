"""Reading migrations; applying them is tested on the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.clickhouse.migrate import MIGRATIONS, MigrationError, read_migrations, split_statements


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("", []),
        ("-- nothing; at all\n/* SELECT 1; */ ;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;\n\nSELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT 'a;b', 'it''s; ', '\\';';", ["SELECT 'a;b', 'it''s; ', '\\';'"]),
        ('SELECT `a;b`, "c;d";', ['SELECT `a;b`, "c;d"']),
        ("SELECT 1 - 1 / 2; -- '\nSELECT 3", ["SELECT 1 - 1 / 2", "SELECT 3"]),
        ("SELECT '-- no comment', '/* nor this */';", ["SELECT '-- no comment', '/* nor this */'"]),
    ],
)
def test_split_statements(sql: str, statements: list[str]) -> None:
    assert split_statements(sql) == statements


def test_our_migrations_are_numbered_from_one_and_can_be_repeated() -> None:
    migrations = read_migrations()
    assert [m.number for m in migrations] == list(range(1, len(migrations) + 1))
    assert [m.file for m in migrations] == sorted(path.name for path in MIGRATIONS.glob("*.sql"))
    for migration in migrations:
        for statement in migration.statements:
            again = "IF NOT EXISTS" in statement or statement.startswith(("ALTER", "CREATE OR REPLACE VIEW"))
            assert again, (migration.file, statement[:60])
            assert "ON CLUSTER" not in statement


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "no migrations there"),
        ({"tables.sql": "SELECT 1"}, r"tables\.sql: a migration is named NNNN_name\.sql"),
        ({"0002_b.sql": "SELECT 1"}, r"0002_b\.sql: expected number 0001"),
        ({"0001_a.sql": "SELECT 1", "0001_b.sql": "SELECT 1"}, r"0001_b\.sql: expected number 0002"),
        ({"0001_a.sql": "-- later;"}, r"0001_a\.sql: no statement"),
    ],
)
def test_a_directory_that_cannot_be_right_is_refused(tmp_path: Path, files: dict[str, str], problem: str) -> None:
    for name, sql in files.items():
        (tmp_path / name).write_text(sql)
    with pytest.raises(MigrationError, match=problem):
        read_migrations(tmp_path)


def test_the_checksum_is_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "0001_a.sql"
    path.write_text("SELECT 1;")
    (before,) = read_migrations(tmp_path)
    path.write_text("SELECT 1; -- a comment")
    (after,) = read_migrations(tmp_path)
    assert before.statements == after.statements
    assert before.checksum != after.checksum
