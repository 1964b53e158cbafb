"""The shop's process: `python -m doorbuster_shop.shop_process`, started by `running`."""

from __future__ import annotations

import sys
from collections.abc import Callable

from starlette.types import ASGIApp

from doorbuster_shop.app import shop_app
from doorbuster_shop.clock import now_s
from doorbuster_shop.serving import read_settings, serve
from doorbuster_shop.shop import Shop
from doorbuster_shop.store.database import DatabaseError, open_database
from doorbuster_shop.store.stock import resume_sale
from doorbuster_shop.terms import terms_from_json


def main() -> None:
    """Serve the shop until the parent goes."""
    settings = read_settings()
    terms = terms_from_json(settings["terms"])
    try:
        db = open_database(settings["database_path"])
        resume_sale(db, terms, settings["opens_at_s"])
    except DatabaseError as error:
        sys.exit(str(error))
    shop = Shop(db, terms, now_s, settings["admin_token"])
    shop.webhook_secret = settings["webhook_secret"]

    def make_app(accepted_count: Callable[[], int]) -> ASGIApp:
        return shop_app(shop, settings["provider_url"], accepted_count, settings["queue_max"])

    serve(make_app, settings["listening_fd"])


if __name__ == "__main__":
    main()
