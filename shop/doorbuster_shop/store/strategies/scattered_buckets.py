"""`scattered_buckets`, broken on purpose: `buckets` that are never gathered."""

from __future__ import annotations

from typing import ClassVar

from doorbuster_shop.store.strategies.buckets import Buckets


class ScatteredBuckets(Buckets):
    """Who wants more than any bucket has is refused, whatever all of them have together."""

    name: ClassVar[str] = "scattered_buckets"
    gathers: ClassVar[bool] = False
