"""YAML documents read into pydantic models: every mistake at once, each with its place.

scenario, text = read_document(path, Scenario)
"""

from doorbuster.documents.reading import Check, DocumentError, read_document
from doorbuster.documents.wording import allowed_names, suggestion
from doorbuster.documents.yaml_nodes import Place

__all__ = [
    "Check",
    "DocumentError",
    "Place",
    "allowed_names",
    "read_document",
    "suggestion",
]
