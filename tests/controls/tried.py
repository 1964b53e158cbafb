"""What was found in the sales of a control: counted, kept in a file, told as a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("core", "simulations", "loadtests", "shop", "tests/controls")
SUFFIXES = (".py", ".sql", ".lua", ".yaml")


@dataclass
class Tried:
    """What was found in the sales of one control in one world."""

    word: str
    row: str
    """Its name in the table."""
    must_be_found: frozenset[str]
    """The failures of which one must be found in every sale; none for a correct shop."""
    world: str
    wanted: int
    """Sales that are asked for."""
    runs: int = 0
    found: Counter[str] = field(default_factory=Counter)
    """Sales in which each failure or invariant was found."""
    hits: int = 0
    """Sales in which the failure was found that must be, or any at all for a correct control."""
    void: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Void sales for each reason."""
    first: str = ""
    """A piece of evidence."""

    @property
    def is_broken(self) -> bool:
        """Whether something must be found."""
        return bool(self.must_be_found)

    @property
    def is_good(self) -> bool:
        """Found in every sale, or in none, as it must be."""
        return self.runs == self.wanted and self.hits == (self.runs if self.is_broken else 0)

    def repeat(self, reasons: list[str]) -> None:
        """One sale that does not count, and why."""
        self.void += 1
        self.reasons.update(reasons)

    def add(self, found: dict[str, str]) -> None:
        """One more sale, with the evidence of each failure."""
        self.runs += 1
        self.found.update(found.keys())
        hit = set(found) & self.must_be_found if self.is_broken else set(found)
        self.hits += bool(hit)
        if hit and not self.first:
            name = min(hit)
            self.first = f"{name}: {found[name]}"


class Kept:
    """Counts in a folder, each for the sources with which it was made; without one, nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def tried(self, new: Tried) -> Tried:
        """What is kept of the same trial of the same sources, or the new one."""
        if self._folder is None or not (path := self._path(new)).exists():
            return new
        kept = json.loads(path.read_text("utf-8"))
        if kept.pop("sources") != self._sources or kept["wanted"] != new.wanted:
            return new
        must_be_found = frozenset(kept.pop("must_be_found"))
        found, reasons = (Counter(kept.pop(name)) for name in ("found", "reasons"))
        return Tried(must_be_found=must_be_found, found=found, reasons=reasons, **kept)

    def save(self, tried: Tried) -> None:
        """Put the counts in the place of those before, whole or not at all."""
        if self._folder is None:
            return
        written = vars(tried) | {
            "must_be_found": sorted(tried.must_be_found),
            "sources": self._sources,
        }
        path = self._path(tried)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(written, indent=2) + "\n", "utf-8")
        part.replace(path)

    def _path(self, tried: Tried) -> Path:
        assert self._folder is not None
        return (
            self._folder / f"{tried.word}-{tried.world.replace(', ', '-').replace(' ', '-')}.json"
        )

    @cached_property
    def _sources(self) -> str:
        digest = sha256()
        for file in _source_files():
            digest.update(file.read_bytes())
        return digest.hexdigest()


def _source_files() -> Iterator[Path]:
    for folder in SOURCES:
        yield from sorted(f for f in (ROOT / folder).rglob("*") if f.suffix in SUFFIXES)


def table(tried: list[Tried]) -> str:
    """All that was tried as a Markdown table."""
    lines = [
        "| control | | world | sales | found in | detectors that fired (sales) | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in tried:
        fired = _counted(row.found) or "none"
        kind = "broken" if row.is_broken else "correct"
        state = "ok" if row.is_good else "WRONG"
        if row.void:
            state += f" ({row.void} void, repeated: {_counted(row.reasons)})"
        cells = [f"`{row.row}`", kind, row.world, row.runs, row.hits, fired, state]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _counted(words: Counter[str]) -> str:
    return ", ".join(f"{word} {number}" for word, number in words.most_common())
