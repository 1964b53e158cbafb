"""Log-ins from a CSV file: one row for each visitor or account, each column a variable."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from doorbuster_load.profile.model import Credentials


class CredentialsError(Exception):
    """A file of log-ins that cannot be used; says why."""


@dataclass(frozen=True)
class CredentialRows:
    """The rows of the file."""

    columns: tuple[str, ...]
    rows: list[dict[str, str]]


def read_credentials(folder: Path, credentials: Credentials) -> CredentialRows:
    """Read the file. Raises: CredentialsError naming it and what is wrong."""
    path = folder / credentials.file
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            columns = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        message = f"{path}: cannot be read ({error})"
        raise CredentialsError(message) from None
    bad = [column for column in columns if not column.isidentifier()]
    if bad or not rows:
        what = f"columns {bad} are no variable names" if bad else "there is no row below the header"
        message = f"{path}: {what}; the first line names the variables, each further one a log-in"
        raise CredentialsError(message)
    return CredentialRows(columns, rows)


def rows_of_visitors(
    credentials: Credentials, row_count: int, account: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Which row each visitor of the plan gets. Shape (visitors,) to (visitors,).

    Raises: CredentialsError when there are too few rows and none may be used twice.
    """
    if credentials.by == "account":
        _, owners = np.unique(account, return_inverse=True)
    else:
        owners = np.arange(len(account), dtype=np.int64)
    needed = int(owners.max()) + 1 if len(owners) else 0
    if needed > row_count and not credentials.reuse:
        message = (
            f"{credentials.file}: too few rows (got {row_count}, the plan has {needed} "
            f"{credentials.by}s); add rows, lower the load factor, or set reuse: true"
        )
        raise CredentialsError(message)
    return np.asarray(owners % row_count, dtype=np.int64)
