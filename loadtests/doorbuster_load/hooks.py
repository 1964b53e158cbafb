"""What is asked of the target around the sale: reset, stock readings, audit, books.

Runs in the process that starts the generator, with a client of its own, so that it neither waits
for the crowd nor delays it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit, urlunsplit

from pydantic import ValidationError

from doorbuster.plan import FaultSpan
from doorbuster.records.audit import Audit, ItemAudit
from doorbuster.records.tables import book_names
from doorbuster.scenario.model import Scenario
from doorbuster.vocabulary import Reply
from doorbuster_load.books import rows_of
from doorbuster_load.exchange import Outgoing, Received
from doorbuster_load.httpx_transport import HttpxTransport
from doorbuster_load.notes import Notes
from doorbuster_load.performing import Performer
from doorbuster_load.profile import jsonpath
from doorbuster_load.profile.jsonpath import MISSING
from doorbuster_load.profile.model import AuditHook, BookHook, FaultHook, Request, StockHook
from doorbuster_load.profile.prepared import PreparedRequest
from doorbuster_load.profile.reading import ProfileFile
from doorbuster_load.profile.templates import names_in, text_template
from doorbuster_load.safety import Guard

HOOK_TIMEOUT_S = 10.0
RESET_TIMEOUT_S = 60.0
MAX_QUOTED = 200
"""Characters of an answer that a message quotes."""
_FIRST_ERROR_STATUS = 400
_WHO_ARE_YOU = (401, 403)
_NO_SUCH_CALL = (404, 405, 501)


class HookError(Exception):
    """A hook that the target refused or answered in an unknown way; says which."""


class NoAnswerError(HookError):
    """A hook that got no answer at all: the target is gone, or too slow."""


class StockReading(NamedTuple):
    """Units of one item at one moment."""

    sku: str
    available: int
    locked: int
    sold: int


class Target:
    """The target as the hooks of its profile see it."""

    def __init__(
        self,
        url: str,
        profile_file: ProfileFile,
        guard: Guard,
        scenario: Scenario,
        *,
        variables: Mapping[str, Any],
    ) -> None:
        profile = profile_file.profile
        self._profile_name = profile.name
        self._profile_file = profile_file
        self._guard = guard
        self._hooks = profile.hooks
        self._scenario = scenario
        self._url = url
        self._variables = dict(variables)
        self._transport = HttpxTransport(guard, verify_tls=profile.verify_tls)
        tag_value = text_template(profile.tag.value)({"t0_epoch_s": "", **variables})
        self._tag = {profile.tag.header: tag_value}
        self._performer = Performer(
            self._transport, guard, Notes(), lambda _: self._tag, time.sleep
        )
        stock = self._hooks.stock
        self._stock_request = None if stock is None else self._prepared(stock.request)
        self._initial = {
            item.sku: item.stock for item in scenario.shop.items if item.bundle is None
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._transport.close()

    def twin(self) -> Target:
        """The same target, with connections and variables of its own, for another thread."""
        return Target(
            self._url, self._profile_file, self._guard, self._scenario, variables=self._variables
        )

    @property
    def reads_stock(self) -> bool:
        """Whether the profile tells how to read the stock."""
        return self._hooks.stock is not None

    @property
    def tells_audit(self) -> bool:
        """Whether the profile tells how to read the account of the sale."""
        return self._hooks.audit is not None

    def check_reachable(self) -> None:
        """Ask for the root page; any answer will do. Raises: NoAnswerError."""
        url = urlsplit(self._url)
        outgoing = Outgoing("GET", urlunsplit(url._replace(path=url.path or "/")), self._tag)
        answer = self._transport.send(outgoing, HOOK_TIMEOUT_S, "")
        if answer.failure is not None:
            message = f"{self._url}: not reachable ({answer.failure}); is the target running?"
            raise NoAnswerError(message)

    def reset(self, t0_epoch_s: float) -> None:
        """Prepare the target for a sale that opens at a wall-clock time. Raises: HookError."""
        self._variables["t0_epoch_s"] = t0_epoch_s
        for request in self._hooks.reset:
            self._asked("reset", self._prepared(request), RESET_TIMEOUT_S)

    def read_stock(self) -> list[StockReading]:
        """The stock of every item. Raises: HookError."""
        hook = self._hooks.stock
        assert hook is not None
        assert self._stock_request is not None
        if "sku" in names_in(hook.request.model_dump(by_alias=True)):
            readings = []
            for sku in self._initial:
                self._variables["sku"] = sku
                answer = self._asked("stock", self._stock_request, HOOK_TIMEOUT_S)
                readings.append(self._reading(hook, sku, answer.document))
            return readings
        document = self._asked("stock", self._stock_request, HOOK_TIMEOUT_S).document
        items = _at("stock", hook.items, document)
        known = [item for item in items if jsonpath.first(hook.sku)(item) in self._initial]
        return [self._reading(hook, _at("stock", hook.sku, item), item) for item in known]

    def audit(self) -> Audit:
        """The target's own account of the sale. Raises: HookError."""
        hook = self._hooks.audit
        assert hook is not None
        return _audit_of(hook, self._last_document("audit", hook.requests))

    def books(self) -> dict[str, list[dict[str, Any]]]:
        """Every order, charge and shipment, as far as the profile tells. Raises: HookError."""
        found = {}
        for name in book_names(self._scenario.shop):
            hook: BookHook | None = getattr(self._hooks, name)
            if hook is not None:
                document = self._last_document(name, hook.requests)
                found[name] = rows_of(name, hook, document, HookError)
        return found

    def begin_fault(self, span: FaultSpan) -> None:
        """Have a fault begin. Raises: HookError."""
        self._ask_about_fault(span, self._fault_hook(span).begin)

    def end_fault(self, span: FaultSpan) -> None:
        """Have a fault end. Raises: HookError."""
        self._ask_about_fault(span, self._fault_hook(span).end)

    def _fault_hook(self, span: FaultSpan) -> FaultHook:
        hook = self._hooks.faults.of(span.fault.kind)
        assert hook is not None
        return hook

    def _ask_about_fault(self, span: FaultSpan, requests: Sequence[Request]) -> None:
        fault = span.fault
        self._variables |= {
            "fault_number": span.number,
            "fault_kind": fault.kind,
            "fault_duration_s": span.ended_s - span.begun_s,
            "fault_extra_s": getattr(fault, "extra", 0.0),
            "fault_of": getattr(fault, "of", "shop"),
            "fault_answer": getattr(fault, "answer", "refuse"),
        }
        for request in requests:
            self._asked(f"faults.{fault.kind}", self._prepared(request), HOOK_TIMEOUT_S)

    def _last_document(self, name: str, requests: Sequence[Request]) -> Any:
        document: Any = None
        for request in requests:
            document = self._asked(name, self._prepared(request), HOOK_TIMEOUT_S).document
        return document

    def _reading(self, hook: StockHook, sku: str, item: Any) -> StockReading:
        available = int(_at("stock", hook.available, item))
        locked = int(_at("stock", hook.locked, item)) if hook.locked else 0
        sold = (
            int(_at("stock", hook.sold, item))
            if hook.sold
            else self._initial[sku] - available - locked
        )
        return StockReading(sku, available, locked, sold)

    def _prepared(self, request: Request) -> PreparedRequest:
        return PreparedRequest(request, self._url, self._profile_file.folder)

    def _asked(self, hook: str, prepared: PreparedRequest, timeout_s: float) -> Received:
        notes = Notes()
        self._performer.notes = notes
        result = self._performer.perform([prepared], self._variables, timeout_s)
        answer = self._performer.last_answer
        if answer is not None and answer.failure is not None:
            call = f"{prepared.method} {urlsplit(answer.url).path}"
            message = f"{hook} hook: {call} got no answer ({answer.failure})"
            raise NoAnswerError(message)
        if result.reply is not Reply.OK or answer is None:
            raise HookError(f"{hook} hook: {self._refusal(prepared, answer, notes)}")
        return answer

    def _refusal(self, prepared: PreparedRequest, answer: Received | None, notes: Notes) -> str:
        """What the target has answered, in one line."""
        if answer is None:
            return "; ".join(notes.to_json()) or f"{prepared.label} could not be sent"
        told = f"{prepared.method} {urlsplit(answer.url).path} answered {answer.status}"
        if answer.status < _FIRST_ERROR_STATUS:  # An answer that lacks something.
            return "; ".join([told, *notes.to_json()])
        is_page = answer.text.lstrip().startswith("<")
        words = "" if is_page else " ".join(answer.text.split())[:MAX_QUOTED]
        told += f" ({words})" if words else ""
        if is_page or answer.status in _NO_SUCH_CALL:
            told += f": this does not look like the shop of profile {self._profile_name!r}"
        elif answer.status in _WHO_ARE_YOU:
            told += ": is the admin token the target's own?"
        return told


def _audit_of(hook: AuditHook, document: Any) -> Audit:
    items = [
        {
            name: jsonpath.first(hook.fields.get(name, f"$.{name}"))(item)
            for name in ItemAudit.model_fields
        }
        for item in _at("audit", hook.items, document)
    ]
    totals = {
        name: jsonpath.first(hook.totals.get(name, f"$.{name}"))(document)
        for name in Audit.model_fields
        if name != "items"
    }
    found: dict[str, Any] = {"items": [_present(item) for item in items], **_present(totals)}
    try:
        return Audit.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        message = f"audit hook: {place}: {first['msg']} (got {first['input']!r})"
        raise HookError(message) from None


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not MISSING}


def _at(hook: str, path: str, document: Any) -> Any:
    value = MISSING if document is MISSING else jsonpath.first(path)(document)
    if value is MISSING:
        message = f"{hook} hook: {path} is not in the answer"
        raise HookError(message)
    return value
