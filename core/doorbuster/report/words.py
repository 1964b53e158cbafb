"""Text in every language at once: the page holds them all and shows the one that is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from doorbuster.report.catalogue import LANGUAGES, say


def in_all_languages(sentence: Callable[[str], str]) -> Markup:
    """One span a language; a text that is the same in all stands once, without a span."""
    texts = {language: sentence(language) for language in LANGUAGES}
    if len(set(texts.values())) == 1:
        return Markup.escape(next(iter(texts.values())))
    spans = (Markup('<span lang="{}">{}</span>').format(*pair) for pair in texts.items())
    return Markup("").join(spans)


def t(key: str, **facts: Any) -> Markup:
    """The sentence of a key in every language, facts filled in."""
    return in_all_languages(lambda language: say(key, facts, language=language))
