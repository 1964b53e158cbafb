"""The report: one HTML file that opens from disk, mails and prints."""

from __future__ import annotations

from pathlib import Path

from doorbuster.records.run_folder import RunFolder


def write_report(path: Path, primary: RunFolder, other: RunFolder | None = None) -> Path:
    """Draw one run, or a simulated and a live run of one plan together; returns the path.

    Raises: RunFolderError when a run cannot be read or the file cannot be written.
    """
    # The page needs verdicts, and verdicts need the catalogues in this package.
    from doorbuster.report.page import write_page  # noqa: PLC0415

    return write_page(path, primary, other)


__all__ = ["write_report"]
