"""Starts a live run and sees it through: checks, reset, generator, stock, audit, records.

Imports no Locust, so any process may call it: the generator is a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doorbuster import exit_codes
from doorbuster.plan import Timetable
from doorbuster.records.run_facts import RunSettings
from doorbuster.records.run_folder import RunFolder, text_hash
from doorbuster.scenario import Scenario
from doorbuster.scenario.faults import Fault
from doorbuster.scenario.reading import ScenarioFile
from doorbuster_load.child import ChildProcess, GeneratorError
from doorbuster_load.conductor import Conductor, Progress
from doorbuster_load.hooks import HookError, Target
from doorbuster_load.profile.checks import hook_requests
from doorbuster_load.profile.credentials import CredentialsError, read_credentials, rows_of_visitors
from doorbuster_load.profile.reading import ProfileError, ProfileFile, find_profile, read_profile
from doorbuster_load.profile.templates import names_in
from doorbuster_load.safety import Guard, RefusedHostError
from doorbuster_load.spec import IN_FLIGHT_LIMIT, Sale, Spec

RATE_CEILING_PER_S = 2000.0
"""Highest planned arrival rate to a host that is not this machine."""
MAX_WORKERS = 256
ADMIN_TOKEN_ENV = "DOORBUSTER_ADMIN_TOKEN"


class UsageError(Exception):
    """Something asked for that cannot be done; says what is allowed."""


@dataclass(frozen=True)
class LiveOptions:
    """What a live run may be told."""

    target: str
    profile: str = "reference"
    workers: int = 1
    allow_hosts: Sequence[str] = ()
    rate_ceiling_per_s: float = RATE_CEILING_PER_S
    in_flight_limit: int = IN_FLIGHT_LIMIT
    admin_token: str | None = None
    """For the hooks; never written anywhere."""
    without_faults: bool = False
    """Leave the scenario's faults out."""
    stop_file: Path | None = None
    """Kill switch: the run ends when this file exists. Besides it, STOP in the run folder."""


@dataclass(frozen=True)
class LiveRun:
    """How a live run has ended. Exit code 0 says that it was carried out, not that it was good."""

    folder: Path | None
    exit_code: int
    sentences: list[str] = field(default_factory=list)


def run_live(
    scenario_file: ScenarioFile,
    settings: RunSettings,
    options: LiveOptions,
    results: Path,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    admin_token_env: str = ADMIN_TOKEN_ENV,
) -> LiveRun:
    """Replay the plan of a scenario against a target, and leave a run folder below `results`.

    on_progress: called about once a second. on_note: sentences for the person who waits.
    admin_token_env: the variable that messages about a missing admin token name.
    Exit codes of the result: 0 carried out, 2 refused before anything was sent, 3 the measurement
    is void, 4 the target or its hooks failed, 130 interrupted.
    Raises: ProfileError for a profile with mistakes, WindowError for an empty window.
    """
    note = on_note or _quiet
    try:
        sale = _checked_sale(scenario_file, settings, options, admin_token_env)
    except (RefusedHostError, UsageError, CredentialsError) as error:
        return LiveRun(None, exit_codes.USAGE, [str(error)])
    except OSError as error:
        return LiveRun(None, exit_codes.TARGET_FAILED, [f"{options.target}: {error}"])
    variables: dict[str, Any] = {"seed": settings.seed, "scenario": sale.scenario.name}
    if options.admin_token:
        variables["admin_token"] = options.admin_token
    with Target(
        options.target, sale.profile_file, sale.guard, sale.scenario, variables=variables
    ) as target:
        try:
            target.check_reachable()
        except HookError as error:
            return LiveRun(None, exit_codes.TARGET_FAILED, [str(error)])
        conductor = Conductor(
            sale,
            scenario_file,
            target,
            results,
            note,
            on_progress or _quiet,
            without_faults=options.without_faults,
        )
        return _conducted(conductor, sale, options.stop_file)


def _conducted(conductor: Conductor, sale: Sale, stop_file: Path | None) -> LiveRun:
    with ChildProcess(sale.spec, visitor_count=sale.plan.visitor_count) as child:
        try:
            ending = conductor.conduct(child, stop_file)
        except HookError as error:
            return LiveRun(_path(conductor.folder), exit_codes.TARGET_FAILED, [str(error)])
        except GeneratorError as error:
            return LiveRun(_path(conductor.folder), error.exit_code, [str(error)])
        except KeyboardInterrupt:
            sentence = "Interrupted before the first arrival."
            return LiveRun(_path(conductor.folder), exit_codes.INTERRUPTED, [sentence])
    return LiveRun(_path(conductor.folder), ending.exit_code, ending.sentences)


def _checked_sale(
    scenario_file: ScenarioFile,
    settings: RunSettings,
    options: LiveOptions,
    admin_token_env: str,
) -> Sale:
    """Everything that can be refused without sending a packet; then the names are looked up.

    Raises: RefusedHostError, UsageError, CredentialsError, ProfileError, WindowError, OSError.
    """
    guard = Guard.of(options.allow_hosts)
    try:
        guard.check(options.target)
    except RefusedHostError as error:
        message = f"--target: {error}"
        raise UsageError(message) from None
    if not 1 <= options.workers <= MAX_WORKERS:
        message = f"--workers: out of range (got {options.workers}); allowed: 1 to {MAX_WORKERS}"
        raise UsageError(message)
    profile_file = read_profile(find_profile(options.profile))
    _check_rate(settings.timetable(scenario_file), options, guard)
    if not options.admin_token:
        _check_token_is_not_needed(profile_file, admin_token_env)
    _check_cart(scenario_file.scenario, profile_file)
    if not options.without_faults:
        _check_faults(scenario_file.scenario.faults, profile_file)
    guard.resolve()
    spec = Spec(
        scenario_path=str(scenario_file.path.resolve()),
        scenario_hash=text_hash(scenario_file.text),
        profile_path=str(profile_file.path.resolve()),
        profile_hash=profile_file.hash,
        target=options.target.rstrip("/"),
        settings=settings,
        worker_count=options.workers,
        guard=guard.to_json(),
        in_flight_limit=options.in_flight_limit,
    )
    sale = Sale.of(spec)
    _check_credentials(sale, profile_file)
    return sale


def _check_rate(timetable: Timetable, options: LiveOptions, guard: Guard) -> None:
    peak_per_s = timetable.peak_rate_per_s
    if not guard.is_local(options.target) and peak_per_s > options.rate_ceiling_per_s:
        message = (
            f"{options.target}: {peak_per_s:g} arrivals/s are planned; allowed: at most "
            f"{options.rate_ceiling_per_s:g}; lower --load-factor or raise --rate-ceiling"
        )
        raise UsageError(message)


def _check_token_is_not_needed(profile_file: ProfileFile, admin_token_env: str) -> None:
    for (_, hook, *_), request in hook_requests(profile_file.profile):
        is_asked_for = request.when is not None and request.when.variable == "admin_token"
        if not is_asked_for and "admin_token" in names_in(request.model_dump(by_alias=True)):
            message = (
                f"--admin-token-env: the profile's {hook} hook needs an admin token, and "
                f"{admin_token_env} is not set; export {admin_token_env}=... (serve prints it)"
            )
            raise UsageError(message)


def _check_cart(scenario: Scenario, profile_file: ProfileFile) -> None:
    if scenario.shop.lock_point == "cart" and profile_file.profile.steps.cart is None:
        message = (
            f"shop.lock_point: cart: the profile {profile_file.profile.name!r} has no step that "
            "puts units into the cart; add steps.cart to the profile, or choose another lock_point"
        )
        raise UsageError(message)


def _check_faults(faults: Sequence[Fault], profile_file: ProfileFile) -> None:
    hooks = profile_file.profile.hooks.faults
    missing = sorted({fault.kind for fault in faults if hooks.of(fault.kind) is None})
    if missing:
        name = profile_file.profile.name
        message = (
            f"the scenario plans faults that the profile {name!r} cannot have carried out "
            f"({', '.join(missing)}); add hooks.faults.{missing[0]} to the profile, or give "
            "--without-faults"
        )
        raise UsageError(message)


def _check_credentials(sale: Sale, profile_file: ProfileFile) -> None:
    credentials = profile_file.profile.visitor.credentials
    if credentials is not None:
        rows = read_credentials(profile_file.folder, credentials).rows
        rows_of_visitors(credentials, len(rows), sale.plan.account)


def _path(folder: RunFolder | None) -> Path | None:
    return None if folder is None else folder.path


def _quiet(_: Any) -> None:
    return None


__all__ = ["LiveOptions", "LiveRun", "ProfileError", "Progress", "run_live"]
