"""The target profile: how a visitor's steps become requests to one checkout API."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from doorbuster.scenario.base import Name, Part
from doorbuster.scenario.durations import PositiveDuration
from doorbuster_load.profile.extraction import Extraction
from doorbuster_load.profile.matching import (
    Condition,
    FunctionName,
    JsonPath,
    ReplyName,
    Rule,
    Scalar,
)

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]
_BODIES = ("json", "form", "graphql", "text")


class GraphQL(Part):
    """A GraphQL operation, sent as POST with a JSON body."""

    query: str
    variables: dict[str, Any] = Field(default_factory=dict)
    operation_name: str | None = None


class When(Part):
    """A condition on the visitor's variables: send this request only if it holds."""

    variable: VariableName
    exists: bool | None = None
    equals: Scalar = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if (self.exists is None) == ("equals" not in self.model_fields_set):
            raise PydanticCustomError("when", "give exists or equals, one of them")
        return self


class Until(Part):
    """Send the request again and again until the answer is as wanted."""

    until: Condition
    every: PositiveDuration = 1.0
    """Between an answer and the next question."""
    deadline: PositiveDuration = 60.0
    """After this time the step ends."""
    on_deadline: ReplyName = "timeout"
    """Reply of the step when the deadline has passed."""


class Request(Part):
    """One HTTP request. Texts may hold `{{variables}}` at any depth."""

    name: str = ""
    """For messages. Default: method and URL."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"] | None = None
    """Default: POST with a body, GET without."""
    url: str = ""
    """Path below the target, or a whole URL on an allowed host."""
    query: dict[str, Any] = Field(default_factory=dict)
    """Added to the URL; lists repeat the parameter, null leaves it out."""
    headers: dict[str, str] = Field(default_factory=dict)
    json_: Annotated[Any, Field(alias="json")] = None
    """JSON body. `{{quantity}}` alone stays a number."""
    form: dict[str, Any] | None = None
    """Body as an HTML form sends it."""
    graphql: GraphQL | None = None
    text: str | None = None
    """Body as it stands; give its Content-Type in headers."""
    python: FunctionName | None = None
    """`module:function(variables)` gives a mapping with any of method, url, query, headers, json,
    form, text, which replace the ones here. The module may stand beside the profile."""
    follow_redirects: bool = False
    """Follow up to 10 redirects, each checked against the allowed hosts."""
    when: When | None = None
    repeat: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Send it this often, one after the other."""
    poll: Until | None = None
    optional: bool = False
    """Go on with the step whatever the answer is."""
    extract: dict[VariableName, Extraction] = Field(default_factory=dict)
    """Variables taken from the answer, when its reply is ok or pending."""
    outcome: list[Rule] = Field(default_factory=list)
    """Ordered rules; the first that fits tells the reply. Without a fitting rule 429 and 503 are
    overloaded, and all else is an error; without any rules 2xx and 3xx are ok."""

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [name for name in _BODIES if getattr(self, body_field(name)) is not None]
        if len(given) > 1:
            raise PydanticCustomError(
                "body",
                "has {count} bodies ({given}); keep one",
                {"count": len(given), "given": ", ".join(given)},
            )
        if not self.url and self.python is None:
            raise PydanticCustomError("url", "needs a url or a python function that gives one")
        if self.poll is not None and self.repeat > 1:
            raise PydanticCustomError("repeat", "poll and repeat exclude each other")
        return self

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or f"{self.method or 'request'} {self.url or self.python}"


def body_field(name: str) -> str:
    """The attribute that holds a kind of body."""
    return "json_" if name == "json" else name


StepRequests = Annotated[list[Request], Field(min_length=1, max_length=32)]


class Steps(Part):
    """The requests of each step. The last reply that is not ok ends a step; so does its end."""

    browse: StepRequests | None = None
    """Look at the item. Left out: the visitor goes to reserve without a request."""
    cart: StepRequests | None = None
    """Put the wanted units into the cart, where that locks them (`lock_point: cart`). `attempt` as
    for reserve."""
    reserve: StepRequests
    """Lock the wanted units; where the cart has locked them, order it. `attempt` counts the logical
    attempts."""
    pay: StepRequests
    """Pay the reservation."""
    poll: StepRequests | None = None
    """Ask for a payment that was pending."""
    cancel: StepRequests | None = None
    """Cancel the reservation. Left out: the visitor just leaves."""
    refund: StepRequests | None = None
    """Ask for the money of a paid order. Left out: nobody asks, and the order stays sold."""


class Credentials(Part):
    """Log-ins from a CSV file with a header line; each column becomes a variable."""

    file: str
    """Path beside the profile."""
    by: Literal["visitor", "account"] = "visitor"
    """Whether each visitor or each account of the plan gets its own row."""
    reuse: bool = False
    """Start again at the top when there are too few rows; otherwise that is an error."""


class Visitor(Part):
    """What each visitor holds."""

    cookies: bool = False
    """Keep cookies, from visitor to leaving."""
    generate: dict[VariableName, Literal["uuid", "hex", "number"]] = Field(default_factory=dict)
    """Values that the client makes at arrival, such as a session id; new in every run."""
    credentials: Credentials | None = None
    setup: list[Request] = Field(default_factory=list, max_length=32)
    """Requests before the visitor's first step, such as a log-in; they count into its time."""


class StockHook(Part):
    """Reads the stock during the sale, twice a second."""

    request: Request
    """With `{{sku}}` in it, it is sent once for each item."""
    items: JsonPath = "$.items"
    """List of items in the answer; not used when each item has its own request."""
    sku: JsonPath = "$.sku"
    """Within an item; not used when each item has its own request."""
    available: JsonPath = "$.available"
    """Within an item, or in the whole answer when each item has its own request."""
    locked: JsonPath | None = None
    """Left out: counted as 0."""
    sold: JsonPath | None = None
    """Left out: counted as the initial stock less available and locked units."""


class AuditHook(Part):
    """Reads the target's own account of the sale after its end."""

    requests: StepRequests
    """The last answer is the account; variables of earlier ones may be used."""
    items: JsonPath = "$.items"
    fields: dict[str, JsonPath] = Field(default_factory=dict)
    """For each field of an item in records/audit.py its path within the item. Default: a key of
    the same name."""
    totals: dict[str, JsonPath] = Field(default_factory=dict)
    """For each other field of the audit its path in the answer. Default: a key of the same name;
    one that is missing stays unknown."""


class BookHook(Part):
    """Reads all orders, all charges of the payment provider, or all shipments, after the sale.

    The detectors of failure modes look into them (docs/failure-modes.md).
    """

    requests: StepRequests
    """The last answer holds the rows; variables of earlier ones may be used."""
    rows: JsonPath
    """List of orders, charges or shipments in the answer."""
    fields: dict[str, JsonPath] = Field(default_factory=dict)
    """For each column of the table in records/tables.py its path within a row. Default: a key of
    the same name. Times in seconds from the opening; one that did not happen is null or missing."""


class FaultHook(Part):
    """Has one kind of fault carried out, such as by Toxiproxy, Chaos Mesh or a script's server."""

    begin: StepRequests
    """Sent when a fault begins; it is in force once the last one is answered."""
    end: list[Request] = Field(default_factory=list, max_length=32)
    """Sent when it is over. Left out: it ends by itself after `{{fault_duration_s}}`."""


class FaultHooks(Part):
    """Who breaks what (docs/faults.md).

    Templates may name `{{fault_kind}}`, `{{fault_number}}`, `{{fault_duration_s}}`,
    `{{fault_extra_s}}`, `{{fault_of}}` and `{{fault_answer}}`.
    """

    kill_worker: FaultHook | None = None
    kill_shop: FaultHook | None = None
    restart_database: FaultHook | None = None
    slow_database: FaultHook | None = None
    freeze: FaultHook | None = None
    provider_outage: FaultHook | None = None
    kill_provider: FaultHook | None = None
    any: FaultHook | None = None
    """For every kind that has none of its own."""

    def of(self, kind: str) -> FaultHook | None:
        """The hook for a kind of fault."""
        own: FaultHook | None = getattr(self, kind)
        return own or self.any


class Hooks(Part):
    """What is asked of the target outside the sale, by the process that starts the run."""

    reset: list[Request] = Field(default_factory=list)
    """Before the sale: empty the orders, fill the stock, set the opening (`{{t0_epoch_s}}`)."""
    stock: StockHook | None = None
    audit: AuditHook | None = None
    orders: BookHook | None = None
    charges: BookHook | None = None
    shipments: BookHook | None = None
    """Asked only where the scenario's items lie in warehouses."""
    faults: FaultHooks = FaultHooks()


class Tag(Part):
    """The header that marks all traffic as a test, so that the target can tell it apart."""

    header: str = "X-Doorbuster-Test"
    value: str = "{{scenario}}/{{seed}}"


class Profile(Part):
    """How to speak to one checkout API."""

    version: Literal[1]
    """Version of this format."""
    name: Name
    description: str = ""
    tag: Tag = Tag()
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with every request of every visitor."""
    verify_tls: bool = True
    """Check certificates of https targets. False only for test systems with their own."""
    connections: Literal["shared", "per_visitor"] = "shared"
    """Reuse open connections between visitors, as behind a gateway, or open one for each, as
    browsers do."""
    retry_after: Literal["ignore", "honour"] = "ignore"
    """Whether visitors wait at least as long as a Retry-After of an overloaded reply asks."""
    shared: list[Request] = Field(default_factory=list)
    """Sent once in each worker before the sale; all visitors have what they extract."""
    visitor: Visitor = Visitor()
    steps: Steps
    hooks: Hooks = Hooks()
