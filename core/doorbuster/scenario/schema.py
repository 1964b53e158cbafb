"""The JSON Schema of scenario files, for completion and hover text in editors."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from doorbuster.scenario.base import Part
from doorbuster.scenario.durations import UNIT_PATTERN, format_duration
from doorbuster.scenario.model import Scenario
from doorbuster.scenario.written import as_written

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _AsInTheFile(GenerateJsonSchema):
    """Writes defaults in the form that the file has."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The schema of a field with a default, the default as text where the file has text."""
        written = super().default_schema(schema)
        default = schema.get("default")
        if isinstance(default, Part):
            written["default"] = as_written(default)
        elif isinstance(default, float) and _is_time(written):
            written["default"] = format_duration(default)
        return written

    def field_title_should_be_set(self, schema: Any) -> bool:
        """No titles for fields: an editor would show `Buy Fraction` above `buy_fraction`."""
        del schema
        return False


def _is_time(schema: JsonSchemaValue) -> bool:
    texts = [schema, *schema.get("anyOf", [])]
    return any(text.get("pattern", "").endswith(UNIT_PATTERN) for text in texts)


def scenario_schema() -> dict[str, Any]:
    """The schema of a whole scenario file."""
    schema = Scenario.model_json_schema(schema_generator=_AsInTheFile)
    return {"$schema": DIALECT, **_on_one_line(schema)}


def schema_text() -> str:
    """The schema as it is committed."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"


def _on_one_line(value: Any) -> Any:
    """The same schema with every description on one line."""
    if isinstance(value, list):
        return [_on_one_line(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {
        key: " ".join(entry.split())
        if key == "description" and isinstance(entry, str)
        else _on_one_line(entry)
        for key, entry in value.items()
    }
