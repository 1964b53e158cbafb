"""What the provider tells of a charge, in answers, in its ledger and in notifications."""

from __future__ import annotations

from typing import Any

from doorbuster_shop.provider.charges import Charge

_MESSAGES = {
    "technical": "the bank did not answer; the same means may work later",
    "business": "the bank declined; take other means",
}


def view(charge: Charge, status: str) -> dict[str, Any]:
    """A charge as its shop sees it. A refusal carries a code for programs and a sentence."""
    seen: dict[str, Any] = {
        "charge_id": charge.id,
        "idempotency_key": charge.idempotency_key,
        "status": status,
        "channel": charge.channel,
        "amount_cents": charge.amount_cents,
        "reference": charge.reference,
    }
    if status == "declined":
        kind = charge.decline_kind
        seen |= {"code": "declined", "decline_kind": kind, "message": _MESSAGES[kind]}
    elif status == "closed":
        seen |= {"code": "closed", "message": "the charge was closed; nothing was taken"}
    return seen


def ledger_row(charge: Charge, now_s: float) -> dict[str, Any]:
    """A charge as it stands in the ledger; null where it did not happen."""
    captured_at_s = charge.captured_at_s
    is_captured = captured_at_s is not None and now_s >= captured_at_s
    decided_at_s = charge.decides_at_s if charge.closed_at_s is None else charge.closed_at_s
    return {
        **view(charge, charge.status(now_s)),
        "asked_at_s": charge.asked_at_s,
        "decided_at_s": decided_at_s if now_s >= decided_at_s else None,
        "captured_at_s": captured_at_s if is_captured else None,
        "refunded_at_s": charge.refunded_at_s,
        "closed_at_s": charge.closed_at_s,
    }
