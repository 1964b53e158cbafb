"""`doorbuster provider` as people run it, and what check says of live-only fields."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from tests.providers import charge, scenario_file

from doorbuster import exit_codes
from doorbuster.cli.main import main

PROGRAM = [sys.executable, "-c", "from doorbuster.cli.main import main; main()"]


@contextmanager
def started(*words: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    process = subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        yield json.loads(process.stdout.readline()), process
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(15)
        process.stdout.close()
        process.stderr.close()
    assert code == exit_codes.PASS


@pytest.mark.live
def test_the_provider_alone_keeps_its_books(tmp_path: Path) -> None:
    """Started twice on one journal: the second knows what the first has taken."""
    words = ["provider", str(scenario_file(tmp_path, {})), "--json", "--fsync"]
    words += ["--journal", str(tmp_path / "money.jsonl")]
    with started(*words) as (facts, _), httpx.Client(base_url=facts["provider"]) as http:
        assert facts.keys() == {"format", "provider"}
        made = charge(http, "k").json()
    with started(*words) as (facts, _), httpx.Client(base_url=facts["provider"]) as http:
        assert charge(http, "k").json() == made
        assert http.get("/ledger").json()["captured_count"] == 1


@pytest.mark.live
def test_serve_uses_a_provider_that_runs(tmp_path: Path) -> None:
    """The secret is shared by the environment or the option; Ctrl-C ends each by itself."""
    path = str(scenario_file(tmp_path, {}))
    hook = ["--notify-url", "http://localhost:9/hook", "--notify-secret", "s"]
    with started("provider", path, "--json", *hook) as (provider, _):
        assert (provider["notify_url"], provider["notify_secret"]) == (hook[1], "s")
        url = provider["provider"]
        with started("serve", path, "--json", "--provider", url, "--notify-secret", "s") as (
            shop,
            _,
        ):
            assert shop["provider"] == url
        assert httpx.get(f"{url}/healthz").status_code == 200


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://example.org/hook", "example.org is another machine"),
        ("http://127.0.0.1.example.org/hook", "is another machine"),
        ("http://user@example.org:80/", "is another machine"),
        ("ftp://127.0.0.1/hook", "is no address"),
        ("127.0.0.1:80", "is no address"),
        ("http://[::1/hook", "is no address"),
    ],
)
def test_strangers_are_not_notified(tmp_path: Path, url: str, what: str) -> None:
    """Another host needs --allow-host; nothing is started before."""
    words = ["provider", str(scenario_file(tmp_path, {})), "--notify-url", url]
    told = CliRunner().invoke(main, words)
    assert told.exit_code == exit_codes.USAGE
    assert what in told.stderr.replace("\n", " ")


def test_check_says_what_is_live_only(tmp_path: Path) -> None:
    """One sentence with the paths; none for a scenario that both worlds follow."""
    surge = {"capacity_per_s": 50}
    path = str(scenario_file(tmp_path, {"surge": surge, "rate_limit_per_s": 9}))
    runner = CliRunner()
    told = runner.invoke(main, ["check", path])
    paths = ["payments.channels.card.surge", "payments.channels.card.rate_limit_per_s"]
    assert f"Live only, not simulated: {', '.join(paths)}." in told.stderr
    assert json.loads(runner.invoke(main, ["check", path, "--json"]).stdout)["live_only"] == paths
    path = str(scenario_file(tmp_path, {}))
    assert "Live only" not in runner.invoke(main, ["check", path]).stderr
    assert json.loads(runner.invoke(main, ["check", path, "--json"]).stdout)["live_only"] == []
