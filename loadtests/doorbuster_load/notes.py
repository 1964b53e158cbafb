"""What went wrong between profile and target, counted by sentence, for people to read."""

from __future__ import annotations

from collections import Counter

MAX_NOTES = 50
"""Different sentences that are kept; more would be noise."""


class Notes:
    """Counts equal sentences."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, sentence: str, count: int = 1) -> None:
        """Note a sentence, or count it once more."""
        if sentence in self._counts or len(self._counts) < MAX_NOTES:
            self._counts[sentence] += count

    def to_json(self) -> dict[str, int]:
        """Every sentence with its count, the most frequent first."""
        return dict(self._counts.most_common())
