"""The books of a live target: its orders, its provider's charges, and what its warehouses sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from doorbuster.records.run_folder import RunFolder
from doorbuster_load.profile import jsonpath
from doorbuster_load.profile.jsonpath import MISSING
from doorbuster_load.profile.model import BookHook

_Text = Annotated[str, BeforeValidator(lambda value: str(value) if _is_number(value) else value)]


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    replication: int = 0


class OrderRow(_Row):
    """A row of the table of orders, as `records/tables.py` tells."""

    order_id: _Text
    account: _Text
    sku: str
    quantity: int
    amount_cents: int
    discount_cents: int = 0
    state: Literal[
        "locked", "open", "cart", "sold", "released", "cancelled", "refunding", "refunded"
    ]
    reserved_s: float
    expires_s: float
    released_s: float | None = None
    sold_s: float | None = None
    refund_asked_s: float | None = None
    returned_s: float | None = None


class ChargeRow(_Row):
    """A row of the table of charges."""

    charge_id: _Text
    order_id: _Text
    channel: str
    amount_cents: int
    state: Literal["processing", "captured", "declined", "refunded"]
    asked_s: float
    decided_s: float | None = None
    captured_s: float | None = None
    refunded_s: float | None = None


class ShipmentRow(_Row):
    """A row of the table of shipments."""

    order_id: _Text
    sku: str
    warehouse: _Text
    units: int
    sent_s: float
    returned_s: float | None = None


ROWS: dict[str, type[OrderRow] | type[ChargeRow] | type[ShipmentRow]] = {
    "orders": OrderRow,
    "charges": ChargeRow,
    "shipments": ShipmentRow,
}

_Error = TypeVar("_Error", bound=Exception)


def rows_of(
    book: str, hook: BookHook, document: Any, error: Callable[[str], _Error]
) -> list[dict[str, Any]]:
    """The rows of a book in an answer. Raises: what `error` makes of one sentence."""
    entries = MISSING if document is MISSING else jsonpath.first(hook.rows)(document)
    if not isinstance(entries, list):
        raise error(f"{book} hook: {hook.rows} is no list in the answer")
    model = ROWS[book]
    names = [name for name in model.model_fields if name != "replication"]
    paths = {name: jsonpath.first(hook.fields.get(name, f"$.{name}")) for name in names}
    rows = []
    for place, entry in enumerate(entries):
        found = {name: path(entry) for name, path in paths.items()}
        try:
            row = model.model_validate({n: v for n, v in found.items() if v is not MISSING})
        except ValidationError as failure:
            first = failure.errors()[0]
            where = ".".join(map(str, first["loc"]))
            message = f"{book} hook: row {place}: {where}: {first['msg']} (got {first['input']!r})"
            raise error(message) from None
        rows.append(row.model_dump())
    return rows


def write_books(folder: RunFolder, books: dict[str, list[dict[str, Any]]]) -> None:
    """Append the rows to the spools of the run. Raises: OSError, naming the file.

    A book that is told and empty is kept, too: nothing was sent is not the same as nobody says so.
    """
    for name, rows in books.items():
        with folder.spool(name, "conductor") as spool:
            if rows:
                spool.append({field: [row[field] for row in rows] for field in rows[0]})
