"""One simulated sale: the planned crowd goes through the simulated shop, on SimPy."""

from __future__ import annotations

from collections.abc import Callable

import simpy

from doorbuster.behaviour import behaviour_of
from doorbuster.deciding import decision_of
from doorbuster.draws import DistributionTables, Purpose, draw, sample
from doorbuster.plan import Plan, Timetable
from doorbuster.scenario.distributions import DistributionBook
from doorbuster.scenario.model import Scenario
from doorbuster.visitor import VisitState, brings_coupon, first_step
from doorbuster.vocabulary import FAILED_REPLIES, Action, Outcome, Reply
from doorbuster_sim.books import charges_table, orders_table
from doorbuster_sim.clock import NANOSECONDS, STOCK_READING_NS
from doorbuster_sim.event_order import Rank
from doorbuster_sim.faults import Faults
from doorbuster_sim.interrupts import SignalsHeld
from doorbuster_sim.sale import SimulatedSale
from doorbuster_sim.simpy_engine.bundles import BundleStock
from doorbuster_sim.simpy_engine.environment import Environment, to_ns, to_s
from doorbuster_sim.simpy_engine.recorder import Recorder, Visit, visit_columns
from doorbuster_sim.simpy_engine.request import Request
from doorbuster_sim.simpy_engine.shop import SimulatedShop
from doorbuster_sim.simpy_engine.stations import Waiting
from doorbuster_sim.tables import ABSENT_NS, requests_table, stock_table, visits_table

_NETWORK = int(Purpose.NETWORK)  # Compiled functions take plain integers far faster.


def run_sale(
    scenario: Scenario,
    plan: Plan,
    timetable: Timetable,
    seed: int,
    system_seed: int,
    replication: int,
    progress: Callable[[float], None] | None,
) -> SimulatedSale:
    """What `simulate_sale` promises, by processes on SimPy."""
    with SignalsHeld() as signals:
        sale = _Sale(scenario, plan, timetable, seed, system_seed)
        signals.take_by(sale.soon)
        return sale.run(replication, progress)


class _Sale:
    """The processes of one sale and what they share."""

    def __init__(
        self,
        scenario: Scenario,
        plan: Plan,
        timetable: Timetable,
        seed: int,
        system_seed: int,
    ) -> None:
        self._scenario, self._plan, self._timetable = scenario, plan, timetable
        self._system_seed = system_seed
        self._behaviour = behaviour_of(scenario, seed)
        self._decide = decision_of(scenario)
        self._env = Environment(initial_time=to_ns(timetable.start_s))
        self.soon = self._env.soon
        faults = Faults.of(scenario, timetable)
        self._shop = SimulatedShop(self._env, scenario, faults, seed, system_seed)
        book = DistributionBook()
        self._network_row = book.add(scenario.service.network)
        self._network: DistributionTables = book.tables()
        personas = scenario.crowd.personas.values()
        self._timeout_ns = [to_ns(persona.request_timeout) for persona in personas]
        self._recorder = Recorder()
        self._visits = [Visit() for _ in range(plan.visitor_count)]
        self._under_way: dict[int, tuple[Action, int, int]] = {}
        """Visitors who wait for an answer: step, attempt and moment of their request."""

    def run(self, replication: int, progress: Callable[[float], None] | None) -> SimulatedSale:
        """From the first arrival to the end of the sale."""
        env, end_ns = self._env, to_ns(self._timetable.end_s)
        env.process(self._arrivals())
        env.process(self._read_stock(end_ns))
        while env.now_ns < end_ns:
            env.run(until=min(end_ns, env.now_ns + NANOSECONDS))
            if progress is not None:
                progress(to_s(env.now_ns))
        self._note_stock()
        unanswered = sorted(self._under_way.items(), key=lambda entry: (entry[1][2], entry[0]))
        for visitor, (step, attempt, sent_ns) in unanswered:
            self._recorder.request(visitor, step, attempt, sent_ns, ABSENT_NS, Reply.TIMEOUT)
        return SimulatedSale(
            visits=visits_table(
                visit_columns(self._visits),
                self._scenario,
                self._timetable,
                self._plan,
                replication,
            ),
            requests=requests_table(self._recorder.request_columns(), replication),
            stock=stock_table(self._recorder.stock_columns(), self._scenario.skus, replication),
            orders=orders_table(self._shop.order_columns(), self._scenario, replication),
            charges=charges_table(self._shop.till.columns(), self._scenario, replication),
            audit=self._shop.audit(),
            stations=self._shop.station_uses(),
        )

    def _arrivals(self) -> Waiting:
        """Starts every planned visitor at its planned moment."""
        for visitor, arrival_ns in enumerate(self._plan.arrival_ns.tolist()):
            wait_ns = max(0, arrival_ns - self._env.now_ns)
            yield self._env.moment(wait_ns, Rank.SEND, visitor)
            self._env.process(self._visit(visitor, arrival_ns))

    def _visit(self, visitor: int, arrival_ns: int) -> Waiting:
        """One visitor from arrival to leaving: the loop around `next_step`."""
        env, plan = self._env, self._plan
        visit = self._visits[visitor]
        persona = int(plan.persona[visitor])
        attempts = [0] * len(Action)
        state, action, wait_s = first_step(int(plan.channel[visitor]))
        visit.started_ns = arrival_ns
        while action != Action.LEAVE:
            if wait_s:
                yield env.moment(to_ns(wait_s), Rank.SEND, visitor, visit.request_count)
            step, sent_ns = Action(action), env.now_ns
            request = self._request(visitor, visit.request_count, step, state)
            visit.request_count += 1
            self._under_way[visitor] = step, attempts[step], sent_ns
            reply = yield self._answer(request, self._timeout_ns[persona])
            del self._under_way[visitor]
            self._recorder.request(visitor, step, attempts[step], sent_ns, env.now_ns, reply)
            attempts[step] += 1
            self._note(visit, request, reply)
            state, action, wait_s = self._decide(
                self._behaviour, visitor, persona, state, int(reply), to_s(env.now_ns - arrival_ns)
            )
            if action == Action.REFUND:
                visit.outcome = Outcome.SOLD  # As long as the shop has not said yes.
        visit.outcome, visit.left_ns = Outcome(state.outcome), env.now_ns

    def _request(self, visitor: int, number: int, step: Action, state: VisitState) -> Request:
        plan = self._plan
        return Request(
            visitor,
            number,
            step,
            int(plan.item[visitor]),
            int(plan.quantity[visitor]),
            int(plan.account[visitor]),
            state.channel,
            logical_attempt=(
                state.refusal_count
                if step in (Action.CART, Action.RESERVE)
                else state.decline_count
            ),
            reserving_attempt=state.refusal_count,
            brings_coupon=step is Action.RESERVE and self._brings_coupon(visitor),
        )

    def _brings_coupon(self, visitor: int) -> bool:
        if self._scenario.shop.coupon is None:
            return False
        return brings_coupon(self._behaviour, visitor, int(self._plan.persona[visitor]))

    def _answer(self, request: Request, timeout_ns: int) -> simpy.Event:
        """An event with the Reply, or TIMEOUT; the shop works on when nobody waits any more."""
        answer = self._env.event()
        self._env.process(self._travel(request, answer))
        alarm = self._env.moment(timeout_ns, Rank.REQUEST_TIMEOUT, request.visitor, request.number)
        assert alarm.callbacks is not None
        alarm.callbacks.append(lambda _: _answer_once(answer, Reply.TIMEOUT))
        return answer

    def _travel(self, request: Request, answer: simpy.Event) -> Waiting:
        """A request's way to the shop and back; half of the network time each."""
        uniform = draw(self._system_seed, request.visitor, _NETWORK, request.number)
        network_ns = to_ns(sample(self._network, self._network_row, uniform))
        name = request.visitor, request.number
        yield self._env.moment(network_ns // 2, Rank.REACH_SHOP, *name)
        reply = yield from self._shop.serve(request)
        way_back_ns = self._shop.silent_ns(reply) + network_ns - network_ns // 2
        yield self._env.moment(way_back_ns, Rank.REACH_VISITOR, *name)
        _answer_once(answer, reply)

    def _note(self, visit: Visit, request: Request, reply: Reply) -> None:
        if reply in FAILED_REPLIES:
            visit.failure_count += 1
        elif reply is Reply.DECLINED:
            visit.decline_count += 1
        elif reply is Reply.OK and request.action is Action.RESERVE:
            visit.reserved_ns = self._env.now_ns
        elif reply is Reply.OK and request.action in (Action.PAY, Action.POLL):
            visit.paid_ns = self._env.now_ns
            item = self._scenario.shop.items[request.item]
            price_cents = item.price_cents * request.units
            visit.price_paid_cents = price_cents - self._shop.discount_cents(request)

    def _read_stock(self, end_ns: int) -> Waiting:
        yield self._env.moment(0, Rank.STOCK_READING)
        while self._env.now_ns < end_ns:
            self._note_stock()
            yield self._env.moment(STOCK_READING_NS, Rank.STOCK_READING)

    def _note_stock(self) -> None:
        for item, stock in enumerate(self._shop.ledger.items):
            if isinstance(stock, BundleStock):
                continue
            self._recorder.stock(self._env.now_ns, item, stock.available, stock.locked, stock.sold)


def _answer_once(answer: simpy.Event, reply: Reply) -> None:
    if not answer.triggered:
        answer.succeed(reply)
