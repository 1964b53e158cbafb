"""The signature of a notification: who holds the secret wrote it, and wrote it just now.

Header `Doorbuster-Signature: t=<seconds since the epoch>,v1=<hex>`, where v1 is HMAC-SHA256 under
the shared secret over the bytes `<t>.<body>`. Source of the form: Stripe's webhooks.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256

HEADER = "Doorbuster-Signature"
REPLAY_WINDOW_S = 300.0
"""Older or newer than this by the receiver's clock, a notification is not believed: somebody may
have kept it."""
_FORM = re.compile(r"^t=(\d{1,12}),v1=([0-9a-f]{64})$")


def sign(secret: str, body: bytes, now_s: float) -> str:
    """The value of the header for a body that is sent now."""
    stamp = int(now_s)
    return f"t={stamp},v1={_digest(secret, body, stamp)}"


def mistake(secret: str, body: bytes, header: str, now_s: float) -> str | None:
    """What is wrong with a signature, or None when it holds."""
    match = _FORM.match(header)
    if match is None:
        return f"header {HEADER}: needed, t=<seconds>,v1=<64 hex digits>"
    stamp = int(match[1])
    if not hmac.compare_digest(match[2], _digest(secret, body, stamp)):
        return f"header {HEADER}: not made with our secret over this body"
    if abs(now_s - stamp) > REPLAY_WINDOW_S:
        return f"header {HEADER}: not of the last {REPLAY_WINDOW_S:g} s"
    return None


def _digest(secret: str, body: bytes, stamp: int) -> str:
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()
