"""Orders as older versions wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from doorbuster.records.run_folder import RunFolder
from doorbuster.records.tables import ORDERS

ROW: dict[str, Any] = {
    "replication": 0, "order_id": "1-0", "account": "1", "sku": "console", "quantity": 1,
    "amount_cents": 700, "discount_cents": 0, "state": "locked", "reserved_s": 1.0,
    "expires_s": 2.0,
}  # fmt: skip


def orders_without(missing: tuple[str, ...], root: Path) -> list[pa.Table]:
    """One order without these columns, read back: of a finished run, and of one that was killed."""
    old = pa.schema([field for field in ORDERS if field.name not in missing])
    row = {name: value for name, value in ROW.items() if name not in missing}
    table = pa.Table.from_pylist([row], old)
    folder = RunFolder(root)
    pq.write_table(table, root / "orders.parquet")
    finished = folder.table("orders")
    (root / "orders.parquet").unlink()
    (root / "spool").mkdir()
    with pa.ipc.new_stream(str(root / "spool" / "orders-a.arrows"), old) as stream:
        stream.write_table(table)
    return [finished, folder.table("orders")]
