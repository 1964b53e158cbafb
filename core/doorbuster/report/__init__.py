"""The report: one HTML file that opens from disk, mails and prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from doorbuster.records.run_folder import RunFolder

if TYPE_CHECKING:
    from doorbuster.verdict import JudgedRun


def write_report(
    path: Path, primary: RunFolder | JudgedRun, other: RunFolder | JudgedRun | None = None
) -> Path:
    """Draw one run, or a simulated and a live run of one plan together; returns the path.

    A folder is read and judged first, a judged run is drawn as it is.

    Raises: RunFolderError when a run cannot be read or the file cannot be written.
    """
    # The page needs verdicts, and verdicts need the catalogues in this package.
    from doorbuster.report.page import write_page  # noqa: PLC0415

    return write_page(path, primary, other)


__all__ = ["write_report"]
