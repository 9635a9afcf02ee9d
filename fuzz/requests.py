"""What an instance is asked by machine: its OpenAPI description, and the sources that a stranger can name."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPENAPI = ROOT / "docs" / "reference" / "openapi.json"
DASHBOARD = ROOT / "webspool" / "dashboard" / "openapi.json"
SOURCES = ["open", "github", "reader", "small", "quiet", "parts", "meta", "slack", "nobody"]
LAWS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
]


def described() -> str:
    """The description, narrowed to sources that are there (and one that is not)."""
    found = json.loads(OPENAPI.read_text())
    found["paths"]["/hooks/{source}"]["post"]["parameters"][0]["schema"] = {"enum": SOURCES}
    return json.dumps(found)
