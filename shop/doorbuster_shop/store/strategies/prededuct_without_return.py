"""`prededuct_without_return`, broken on purpose: the counter only ever goes down.

Who is refused after the counter (purchase limit), and whose lock lapses, has used its units up:
buyers are told sold out while units lie in the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from doorbuster_shop.store.strategies.prededuct import Prededuct

if TYPE_CHECKING:
    from doorbuster_shop.store.stock import Units
    from doorbuster_shop.store.store import Store


class PredeductWithoutReturn(Prededuct):
    """No way back to the counter, and no reconciliation."""

    name: ClassVar[str] = "prededuct_without_return"
    returns_refused: ClassVar[bool] = False

    async def on_returned(self, returned: list[Units]) -> None:
        """Nobody tells the counter."""

    async def end_sweep(self, store: Store, now_s: float) -> None:
        """Nobody compares."""
