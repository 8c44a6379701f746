"""The contract with producers: JSON Schemas are current, examples hold, and nothing released breaks."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas import json_schema
from schemas.compatibility import breaking_changes
from schemas.dead_letter import DeadLetter, Reason
from schemas.labels import Label
from schemas.topics import ANNOTATIONS, REVIEWS, TOPICS, by_name
from streams.decode import check_payload

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "schemas" / "examples"
VALID = sorted(EXAMPLES.glob("*/v*/*.json"))
INVALID = sorted(EXAMPLES.glob("*/v*/invalid/*.json"))
#: These depend on the key, the clock, the settings, or are too big to commit: see schemas/examples/README.md.
WITHOUT_EXAMPLE = {Reason.KEY_MISMATCH, Reason.TIME_IN_FUTURE, Reason.UNKNOWN_LABEL, Reason.TOO_LARGE}


def named(path: Path) -> str:
    return str(path.relative_to(EXAMPLES))


def topic_of(path: Path) -> str:
    return path.relative_to(EXAMPLES).parts[0]


def key_of(path: Path) -> bytes:
    try:
        return str(json.loads(path.read_bytes())["task_id"]).encode()
    except (ValueError, TypeError, KeyError):
        return b"task-1042"


class TestCommitted:
    def test_schemas_are_current(self) -> None:
        assert json_schema.differences() == "", "run: python -m schemas.json_schema"

    def test_stale_schema_is_noticed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert json_schema.main([], directory=tmp_path) == 0
        assert json_schema.main(["--check"], directory=tmp_path) == 0
        path = tmp_path / "annotations.v1.json"
        path.write_text(path.read_text().replace('"maxLength": 20000', '"maxLength": 30000'))
        assert json_schema.main(["--check"], directory=tmp_path) == 1
        assert '-          "maxLength": 30000' in capsys.readouterr().out
        assert json_schema.main([], directory=tmp_path) == 0
        (tmp_path / "gone.v1.json").write_text("{}\n")
        assert json_schema.main(["--check"], directory=tmp_path) == 1

    def test_nothing_released_breaks(self) -> None:
        assert list(json_schema.released_breaks()) == []

    def test_every_topic_is_released(self) -> None:
        assert {path.name for path in json_schema.RELEASED.glob("*.json")} == {
            json_schema.file_name(topic) for topic in TOPICS
        }

    def test_breaking_release_is_refused(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        promised = json_schema.json_schema(ANNOTATIONS)
        promised["properties"]["mood"] = {"type": "string"}
        (tmp_path / "annotations.v1.json").write_text(json.dumps(promised))
        (tmp_path / "annotations.v0.json").write_text("{}")
        assert json_schema.main(["--release"], directory=tmp_path, released=tmp_path) == 1
        error = capsys.readouterr().err
        assert "annotations.v1.json: mood: field removed or renamed" in error
        assert "annotations.v0.json: was released and is gone" in error
        assert "mood" in (tmp_path / "annotations.v1.json").read_text(), "the promise was not overwritten"

    def test_release_writes_both(self, tmp_path: Path) -> None:
        released = tmp_path / "released"
        assert json_schema.main(["--release"], directory=tmp_path, released=released) == 0
        written = {path.name for path in tmp_path.glob("*.json")}
        assert {path.name for path in released.iterdir()} == written - {json_schema.THRESHOLDS}


class TestExamples:
    @pytest.mark.parametrize("path", VALID, ids=named)
    def test_valid(self, path: Path) -> None:
        topic = by_name(topic_of(path))
        assert path.parent.name == f"v{topic.version}"
        model = topic.schema.model_validate_json(path.read_bytes())
        again = topic.schema.model_validate_json(model.model_dump_json(by_alias=True))
        assert again == model
        if topic in (ANNOTATIONS, REVIEWS):
            assert check_payload(topic.name, key_of(path), path.read_bytes()) is None

    @pytest.mark.parametrize("path", VALID, ids=named)
    def test_valid_by_the_json_schema(self, path: Path) -> None:
        jsonschema = pytest.importorskip("jsonschema")
        schema = json.loads((json_schema.DIRECTORY / json_schema.file_name(by_name(topic_of(path)))).read_text())
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_text()))

    @pytest.mark.parametrize("path", INVALID, ids=named)
    def test_invalid(self, path: Path) -> None:
        refusal = check_payload(topic_of(path), key_of(path), path.read_bytes())
        assert refusal is not None
        assert refusal.reason.value == path.name.split(".")[0], refusal.detail
        assert refusal.detail

    def test_each_label_kind_reason_and_topic_has_one(self) -> None:
        annotations = [json.loads(path.read_bytes()) for path in VALID if topic_of(path) == ANNOTATIONS.name]
        kinds = set(json.loads(json.dumps(_kinds())))
        assert {document["label"]["kind"] for document in annotations} == kinds
        fields = ANNOTATIONS.schema.model_fields.keys()
        assert all(any(document.get(field) is not None for document in annotations) for field in fields)
        assert {Reason(path.name.split(".")[0]) for path in INVALID} == set(Reason) - WITHOUT_EXAMPLE
        assert {topic_of(path) for path in VALID} == {topic.name for topic in TOPICS}

    def test_dead_letter_keeps_bytes(self) -> None:
        path = EXAMPLES / "annotations-dlq/v1/not_json.no_key.json"
        assert DeadLetter.model_validate_json(path.read_bytes()).payload == b"\xff\xfe\x00not json"


def _kinds() -> list[str]:
    union = Label.__origin__  # type: ignore[attr-defined]  # Annotated keeps the union there
    return [member.model_fields["kind"].default for member in union.__args__]


Change = Callable[[dict[str, Any]], object]
BREAKING: dict[str, tuple[Change, str]] = {
    "field removed": (lambda s: s["properties"].pop("features"), "features: field removed or renamed"),
    "field renamed": (
        lambda s: s["properties"].update(worker_id=s["properties"].pop("labeler_id")),
        "labeler_id: field removed or renamed",
    ),
    "new required field": (lambda s: s["required"].append("active_seconds"), "active_seconds: field is now required"),
    "type narrowed": (
        lambda s: s["properties"]["active_seconds"]["anyOf"][0].update(type="integer"),
        "active_seconds: may no longer be number",
    ),
    "another type": (
        lambda s: s["properties"]["task_id"].update(type="integer"),
        "task_id: type string no longer allowed",
    ),
    "null no longer allowed": (
        lambda s: s["properties"]["active_seconds"]["anyOf"].pop(),
        "active_seconds: may no longer be null",
    ),
    "limit narrowed": (
        lambda s: s["properties"]["task_id"].update(maxLength=100),
        "task_id: maxLength narrowed from 200 to 100",
    ),
    "limit added": (
        lambda s: s["$defs"]["TextLabel"]["properties"]["value"].update(minLength=1),
        "label.value: minLength narrowed from none to 1",
    ),
    "lower limit raised": (
        lambda s: s["properties"]["active_seconds"]["anyOf"][0].update(minimum=1),
        "active_seconds: minimum narrowed from 0 to 1",
    ),
    "enum narrowed": (
        lambda s: s["$defs"]["LabelerKind"]["enum"].remove("model"),
        "labeler_kind: value 'model' is no longer allowed",
    ),
    "enum added": (
        lambda s: s["properties"]["vendor_id"].update(enum=["acme"]),
        "vendor_id: only ['acme'] are allowed now",
    ),
    "const changed": (
        lambda s: s["properties"]["schema_version"].update(const=2),
        "schema_version: value 1 is no longer allowed",
    ),
    "label kind removed": (
        lambda s: s["properties"]["label"]["oneOf"].pop(3),
        "label: may no longer be kind 'text'",
    ),
    "deep inside a union": (
        lambda s: s["$defs"]["Span"]["properties"]["end"].update(maximum=10),
        "label.spans[].end: maximum narrowed from 1000000000.0 to 10",
    ),
    "map value narrowed": (
        lambda s: s["properties"]["features"]["additionalProperties"]["anyOf"].pop(),
        "features.*: may no longer be string",
    ),
    "map key narrowed": (
        lambda s: s["properties"]["features"]["propertyNames"].update(maxLength=8),
        "features (key): maxLength narrowed from 64 to 8",
    ),
    "default changed": (
        lambda s: s["properties"]["labeler_kind"].update(default="model"),
        "labeler_kind: default changed from 'human' to 'model'",
    ),
    "pattern added": (
        lambda s: s["properties"]["task_id"].update(pattern="^[a-z]+$"),
        "task_id: pattern changed from none to ^[a-z]+$",
    ),
}
COMPATIBLE: dict[str, Change] = {
    "nothing": lambda s: None,
    "words": lambda s: s.update(title="x", description="y"),
    "new optional field": lambda s: s["properties"].update(mood={"type": "string", "default": ""}),
    "field no longer required": lambda s: s["required"].remove("vendor_id"),
    "limit widened": lambda s: s["properties"]["task_id"].update(maxLength=500, minLength=0),
    "limit dropped": lambda s: s["properties"]["task_id"].pop("maxLength"),
    "enum widened": lambda s: s["$defs"]["LabelerKind"]["enum"].append("crowd"),
    "type widened": lambda s: s["properties"]["task_id"].update(type=["string", "integer"]),
    "null allowed": lambda s: s["properties"].update(
        vendor_id={"anyOf": [s["properties"]["vendor_id"], {"type": "null"}]}
    ),
    "label kind added": lambda s: s["properties"]["label"]["oneOf"].append({"type": "object"}),
    "other fields allowed": lambda s: s.update(additionalProperties=True),
}


class TestCompatibility:
    @pytest.mark.parametrize("name", BREAKING)
    def test_breaking(self, name: str) -> None:
        change, expected = BREAKING[name]
        old = json_schema.json_schema(ANNOTATIONS)
        new = copy.deepcopy(old)
        change(new)
        assert expected in breaking_changes(old, new)

    @pytest.mark.parametrize("name", COMPATIBLE)
    def test_compatible(self, name: str) -> None:
        old = json_schema.json_schema(ANNOTATIONS)
        new = copy.deepcopy(old)
        COMPATIBLE[name](new)
        assert breaking_changes(old, new) == []

    def test_closing_an_open_object_is_breaking(self) -> None:
        assert breaking_changes({"type": "object"}, {"type": "object", "additionalProperties": False}) == [
            "message: other fields are no longer allowed"
        ]

    def test_a_tuple_is_compared_by_place(self) -> None:
        number, text = {"type": "number"}, {"type": "string"}
        old = {"type": "array", "prefixItems": [number, text], "minItems": 2, "maxItems": 2}
        assert breaking_changes(old, copy.deepcopy(old)) == []
        assert breaking_changes(old, {**old, "prefixItems": [number, number]}) == ["[1]: type string no longer allowed"]
        longer = {**old, "prefixItems": [number, text, text], "minItems": 3, "maxItems": 3}
        assert "message: minItems narrowed from 2 to 3" in breaking_changes(old, longer)

    def test_fields_by_pattern_are_compared(self) -> None:
        old = {"type": "object", "patternProperties": {"^a": {"type": "string"}}}
        assert breaking_changes(old, copy.deepcopy(old)) == []
        shorter = {"type": "object", "patternProperties": {"^a": {"type": "string", "maxLength": 3}}}
        assert breaking_changes(old, shorter) == ["(^a): maxLength narrowed from none to 3"]

    def test_recursive_types_end(self) -> None:
        tree = {
            "$defs": {"Node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/Node"}}}},
            "$ref": "#/$defs/Node",
        }
        assert breaking_changes(tree, copy.deepcopy(tree)) == []

    @pytest.mark.parametrize("schema", [{"not": {"type": "null"}}, {"anyOf": [{"type": "null"}], "maxLength": 3}])
    def test_unknown_keyword_is_an_error(self, schema: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="is not compared"):
            breaking_changes({}, schema)
