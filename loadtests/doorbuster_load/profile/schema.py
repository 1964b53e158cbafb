"""The JSON Schema of target profiles, generated from the model and committed beside it."""

from __future__ import annotations

import json
from importlib import resources

from doorbuster_load.profile.model import Profile

FILE_NAME = "profile.schema.json"


def schema_text() -> str:
    """The schema as it is committed."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Profile.model_json_schema(by_alias=True),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def committed_schema_text() -> str:
    """The file of the package."""
    return (resources.files("doorbuster_load") / FILE_NAME).read_text("utf-8")
