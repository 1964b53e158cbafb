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


def named(kind: str, name: str) -> Markup:
    """A word of the records in every language, the word itself as its tooltip."""
    return Markup('<span title="{}">{}</span>').format(name, t(f"{kind}.{name}"))


def step_named(step: str) -> Markup:
    """A step, or all of them (`@all.steps`)."""
    return t(step.removeprefix("@")) if step.startswith("@") else named("step", step)


def measure_named(measure: str) -> Markup:
    """A compared measure, such as `gmv` or `response_p95.pay`."""
    name, _, step = measure.partition(".")
    words = t(f"measure.{name}")
    if step:
        words += Markup(" · ") + t(f"step.{step}")
    return Markup('<span title="{}">{}</span>').format(measure, words)


def t(key: str, **facts: Any) -> Markup:
    """The sentence of a key in every language, facts filled in."""
    return in_all_languages(lambda language: say(key, facts, language=language))
