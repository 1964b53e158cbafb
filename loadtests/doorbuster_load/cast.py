"""Who the visitors are to the target: their variables, headers and credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from doorbuster import __version__
from doorbuster.behaviour import behaviour_of
from doorbuster.visitor import brings_coupon
from doorbuster.vocabulary import Action
from doorbuster_load.profile.credentials import read_credentials, rows_of_visitors
from doorbuster_load.profile.templates import MissingVariableError, Variables, text_template
from doorbuster_load.spec import Sale, unique_id

USER_AGENT = f"doorbuster/{__version__}"

_GENERATORS: dict[str, Callable[[str], Any]] = {
    "uuid": lambda identity: identity,
    "hex": lambda identity: identity.replace("-", ""),
    "number": lambda identity: int(identity.replace("-", "")[:12], 16),
}


class Cast:
    """Gives each visitor its variables. `t0_epoch_s` marks the run: ids differ in the next one."""

    def __init__(self, sale: Sale) -> None:
        self._sale = sale
        profile = sale.profile_file.profile
        headers = {"User-Agent": USER_AGENT, profile.tag.header: profile.tag.value}
        self._header_templates = [
            (name, text_template(value)) for name, value in {**headers, **profile.headers}.items()
        ]
        self._behaviour = behaviour_of(sale.scenario, sale.spec.settings.seed)
        self._generate = profile.visitor.generate
        self._rows: list[dict[str, str]] = []
        credentials = profile.visitor.credentials
        if credentials is not None:
            self._rows = read_credentials(sale.profile_file.folder, credentials).rows
            self._row_of = rows_of_visitors(credentials, len(self._rows), sale.plan.account)
        self.t0_epoch_s = 0.0
        # The numbers of shared identities are far apart; 10.0.0.0/8 holds 16 million places.
        self._ip_place = np.unique(sale.plan.ip, return_inverse=True)[1]
        self.shared: dict[str, Any] = {}
        """What the shared requests of this worker have brought."""

    def common(self) -> dict[str, Any]:
        """Variables of the run, the same for everybody."""
        scenario, seed = self._sale.scenario.name, self._sale.spec.settings.seed
        return {"t0_epoch_s": self.t0_epoch_s, "seed": seed, "scenario": scenario}

    def variables_of(self, visitor: int) -> dict[str, Any]:
        """Variables of a visitor at arrival."""
        plan, names = self._sale.plan, self._sale.names
        ip, place = int(plan.ip[visitor]), int(self._ip_place[visitor])
        variables: dict[str, Any] = {
            **self.common(),
            **self.shared,
            "visitor": visitor,
            "persona": names.personas[plan.persona[visitor]],
            "account": int(plan.account[visitor]),
            "device": int(plan.device[visitor]),
            "ip": ip,
            "ip_text": f"10.{place >> 16 & 255}.{place >> 8 & 255}.{place & 255}",
            "address": int(plan.address[visitor]),
            "card": int(plan.card[visitor]),
            "sku": names.skus[plan.item[visitor]],
            "quantity": int(plan.quantity[visitor]),
            "channel": names.channels[plan.channel[visitor]],
            "coupon": self.brings_coupon(visitor),
        }
        for name, kind in self._generate.items():
            variables[name] = _GENERATORS[kind](self._identity(visitor, name))
        if self._rows:
            variables.update(self._rows[self._row_of[visitor]])
        return variables

    def brings_coupon(self, visitor: int) -> bool:
        """Whether a visitor brings the coupon of the sale, if there is one."""
        if self._sale.scenario.shop.coupon is None:
            return False
        persona = int(self._sale.plan.persona[visitor])
        return brings_coupon(self._behaviour, visitor, persona)

    def headers_of(self, variables: Variables) -> dict[str, str]:
        """Headers of every request; one whose variables are not known yet is left out."""
        headers = {}
        for name, value in self._header_templates:
            try:
                headers[name] = value(variables)
            except MissingVariableError:
                continue
        return headers

    def idempotency_key(self, visitor: int, action: int, attempt: int) -> str:
        """The key of a logical attempt: a repetition of it carries the same one."""
        return self._identity(visitor, Action(action).name, attempt)

    def _identity(self, visitor: int, *what: object) -> str:
        return unique_id(self._sale.spec.settings.seed, self.t0_epoch_s, visitor, *what)
