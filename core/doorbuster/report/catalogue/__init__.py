"""What is said to people, in each language; machine names (outcomes, steps, ids) stay as they are.

`en.json` and `zh-CN.json` are flat: key to sentence, with `{facts}` to fill in. A key that one
language lacks fails a test.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

LANGUAGES = ("en", "zh-CN")


@cache
def catalogue(language: str) -> dict[str, str]:
    """All sentences of one language. Range: a name in LANGUAGES."""
    text = resources.files(__name__).joinpath(f"{language}.json").read_text("utf-8")
    sentences: dict[str, str] = json.loads(text)
    return sentences


def say(key: str, facts: Mapping[str, Any] | None = None, *, language: str = "en") -> str:
    """The sentence of a key with its facts filled in; a fact `@other.key` is a sentence itself.

    Raises: KeyError for an unknown key.
    """
    sentences = catalogue(language)
    filled = {
        name: sentences[value[1:]] if isinstance(value, str) and value.startswith("@") else value
        for name, value in (facts or {}).items()
    }
    return sentences[key].format(**filled)
