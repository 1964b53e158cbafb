"""Plants one defect after the other and looks whether the tests notice: `make mutants`.

The defects stand in the TOML files beside this one. Each goes into a copy of the project of its
own, where the judges below run one after the other, the cheapest first, until one fails. What no
judge notices has survived. A mutant that cannot be imported or compiled is broken, not killed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOLDERS = ("core", "simulations", "loadtests", "shop", "tests", "scenarios")
PACKAGES = FOLDERS[:4]
JOBS_MAX = 2
JUDGE_MAX_S = 900.0
"""Time of one judge; one that takes longer has noticed something, and is told apart."""
WANTED_SHARE = 0.95


class Edit(NamedTuple):
    """One change of one file. `old` occurs in it exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A defect and how to plant it. place: `both_engines`, `shared_code` or `one_engine`."""

    name: str
    place: str
    defect: str
    edits: tuple[Edit, ...]

    @property
    def engines(self) -> tuple[str, ...]:
        """Where somebody must notice it. Shared code is judged through the readable engine."""
        if self.place == "shared_code":
            return ("simpy",)
        touched = " ".join(edit.file for edit in self.edits)
        return tuple(e for e in ("simpy", "compiled") if f"/{e}_engine/" in touched)


class Judge(NamedTuple):
    """Some tests. plain: without compilation, which starts at once."""

    tests: tuple[str, ...]
    expression: str = ""
    plain: bool = False
    compares_engines: bool = False


OF_ORDERS = (
    "tests/test_coupons.py",
    "tests/test_refunds.py",
    "tests/test_bundles.py",
    "tests/test_lock_point.py",
    "tests/test_warehouses.py",
    "tests/test_cart.py",
)
BY_HAND = (
    "tests/test_sim_faults.py",
    "tests/test_sim_late_payment.py",
    "tests/test_sim_late_payment_faults.py",
)
PLANNED = "lindleys or nothing_but_broken"
"""Those of them that need a plan."""
JUDGES = {
    "simpy": (
        Judge(("tests/test_sale_by_hand.py", "tests/test_visitor.py"), "not compiled", plain=True),
        Judge(("tests/test_shop_and_simulation_agree.py",), "not compiled", plain=True),
        Judge(("tests/judging",), "measures", plain=True),
        Judge(OF_ORDERS, "not compiled and not generated"),
        # A plan is drawn by compiled code alone.
        Judge(BY_HAND, f"simpy and not ({PLANNED})", plain=True),
        Judge(("tests/test_sim_independence.py",), "not compiled"),
        Judge(("tests/test_draws.py", "tests/test_plan.py", "tests/test_visitor.py")),
        Judge(("tests/test_sim_sale.py",)),
        Judge(("tests/test_sim_oracle.py",)),
        Judge(("tests/test_sim_faults.py",), f"simpy and ({PLANNED})"),
        Judge(("tests/test_sim_theory.py", "tests/test_sim_theory_stock.py")),
        Judge(("tests/test_engines_agree.py",), compares_engines=True),
    ),
    "compiled": (
        Judge(("tests/test_sale_by_hand.py",), "compiled"),
        Judge(("tests/test_shop_and_simulation_agree.py",), "compiled"),
        Judge(BY_HAND, "compiled"),
        Judge(OF_ORDERS, "compiled"),
        Judge(("tests/test_engines_grow.py",), compares_engines=True),
        Judge(("tests/test_sim_independence.py",), "compiled"),
        Judge(("tests/test_engines_agree.py",), compares_engines=True),
    ),
}
"""By the engine in which a defect is looked for. Judges that compare the engines with each other
are asked about one_engine only: the point of the others is that they must be found without."""

PROFILE = """

from hypothesis import HealthCheck, Phase, settings

# The first failing example is enough, the same examples every time, and slowness is no failure.
settings.register_profile(
    "mutants",
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutants")
"""
BROKEN = re.compile(
    r"^E +(?:\w+\.)*"
    r"(?:SyntaxError|IndentationError|ImportError|ModuleNotFoundError|NameError|UnboundLocalError"
    r"|AttributeError|numba\.core\.errors\.\w+|TypingError|LoweringError|UnsupportedError)\b",
    re.MULTILINE,
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass
class Fate:
    """What became of a mutant: by engine the test that noticed it, or None."""

    mutant: Mutant
    killers: dict[str, str | None] = field(default_factory=dict)
    broken: str = ""
    seconds: float = 0.0

    @property
    def is_killed(self) -> bool:
        """Whether it was noticed wherever it was planted."""
        return not self.broken and all(self.killers.values()) and bool(self.killers)

    def line(self) -> str:
        """One line for people."""
        word = "broken  " if self.broken else "killed  " if self.is_killed else "SURVIVED"
        told = "; ".join(f"{e}: {k or 'nobody noticed'}" for e, k in self.killers.items())
        return f"{word} {self.mutant.name:36} {self.broken or told} ({self.seconds:.0f} s)"


def mutants() -> list[Mutant]:
    """All mutants of the table, in its order."""
    found = []
    for place in ("both_engines", "shared_code", "one_engine"):
        table = tomllib.loads((HERE / f"{place}.toml").read_text("utf-8"))
        for row in table["mutant"]:
            edits = tuple(Edit(**edit) for edit in row["edit"])
            found.append(Mutant(row["name"], place, row["defect"], edits))
    return found


def plant(mutant: Mutant, root: Path) -> None:
    """Make the mutant's edits below a folder. Raises: ValueError where one no longer applies."""
    for edit in mutant.edits:
        path = root / edit.file
        text = path.read_text("utf-8")
        if text.count(edit.old) != 1:
            message = (
                f"{edit.file}: mutant {mutant.name}: the old text occurs {text.count(edit.old)} "
                f"times, allowed 1: {edit.old.strip()!r}"
            )
            raise ValueError(message)
        path.write_text(text.replace(edit.old, edit.new), "utf-8")


def judge(one: Judge, tree: Path) -> tuple[str | None, str]:
    """The first test that fails in a tree, or None; and what pytest printed."""
    path = os.pathsep.join(str(tree / package) for package in PACKAGES)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    environment |= {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["DOORBUSTER_EXAMPLES"] = "300"
    if one.plain:
        environment["NUMBA_DISABLE_JIT"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-rfE", "-p", "no:cacheprovider"]
    command += [*one.tests, *(["-k", one.expression] if one.expression else [])]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=JUDGE_MAX_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"timeout after {JUDGE_MAX_S:g} s of {' '.join(one.tests)}", ""
    if done.returncode == 0:
        return None, done.stdout
    named = FAILED.search(done.stdout)
    return named.group(1) if named else f"pytest ended with {done.returncode}", done.stdout


def try_mutant(mutant: Mutant, workshop: Path) -> Fate:
    """Plant a mutant in a copy of the project and let the judges look at it."""
    began, fate = time.perf_counter(), Fate(mutant)
    with TemporaryDirectory(dir=workshop) as folder:
        tree = copy_project(Path(folder))
        plant(mutant, tree)
        for engine in mutant.engines:
            fate.killers[engine] = None
            for one in JUDGES[engine]:
                if one.compares_engines and mutant.place != "one_engine":
                    continue
                killer, output = judge(one, tree)
                if killer is not None and (broken := BROKEN.search(output)):
                    fate.broken = f"{killer}: {broken.group().lstrip('E ')}"
                if killer is not None:
                    fate.killers[engine] = killer
                    break
    fate.seconds = time.perf_counter() - began
    return fate


def copy_project(folder: Path) -> Path:
    """The sources without anything that was compiled from them."""
    unwanted = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", folder)
    with (folder / "tests" / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(PROFILE)
    return folder


def sound_baseline(workshop: Path) -> Iterator[str]:
    """Every judge that does not pass the unchanged project, as a sentence."""
    with TemporaryDirectory(dir=workshop) as folder:
        tree = copy_project(Path(folder))
        for one in dict.fromkeys(one for judges in JUDGES.values() for one in judges):
            killer, output = judge(one, tree)
            if killer is not None:
                yield f"the unchanged project fails: {killer}\n{output[-3000:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line a mutant and the kill rate; 0 when it is high enough."""
    options = _options(arguments)
    chosen = [m for m in mutants() if not options.only or m.name in options.only]
    fates = []
    with TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        if not options.trust_baseline:
            for sentence in sound_baseline(Path(folder)):
                _say(sentence)
                return 1
            _say("the unchanged project passes every judge")
        for fate in pool.map(lambda mutant: try_mutant(mutant, Path(folder)), chosen):
            _say(fate.line())
            fates.append(fate)
            if options.table:
                options.table.write_text("\n".join(table(fates)) + "\n", "utf-8")
    killed, broken = sum(f.is_killed for f in fates), sum(bool(f.broken) for f in fates)
    _say(f"{killed} of {len(fates)} mutants killed: {killed / len(fates):.0%}; broken: {broken}")
    return 0 if killed >= WANTED_SHARE * len(fates) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these mutants and no others")
    parser.add_argument("--jobs", type=int, default=JOBS_MAX, choices=range(1, JOBS_MAX + 1))
    parser.add_argument("--trust-baseline", action="store_true", help="skip the unchanged project")
    parser.add_argument("--table", type=Path, help="also write the Markdown tables of the docs")
    return parser.parse_args(arguments)


def table(fates: Sequence[Fate]) -> Iterator[str]:
    """The Markdown tables of docs/mutants.md, line by line."""
    for place in dict.fromkeys(fate.mutant.place for fate in fates):
        yield from (f"### {place}", "", "| Mutant | Defect | Noticed by |", "|---|---|---|")
        for fate in fates:
            if fate.mutant.place == place:
                yield f"| `{fate.mutant.name}` | {fate.mutant.defect} | {_noticed(fate)} |"
        yield ""


def _noticed(fate: Fate) -> str:
    """The tests, without their parameters; once where it was the same test in both engines."""
    tests = {e: _short(k) if k else "nobody" for e, k in fate.killers.items()}
    if fate.broken or len(set(tests.values())) == 1:
        return f"broken: {fate.broken}" if fate.broken else next(iter(tests.values()))
    return "; ".join(f"{engine}: {test}" for engine, test in tests.items())


def _short(killer: str) -> str:
    file, _, test = killer.partition("::")
    return f"`{Path(file).stem}::{test.partition('[')[0]}`" if test else killer


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
