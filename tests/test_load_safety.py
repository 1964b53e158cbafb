"""Whom a load test may reach: loopback and what was allowed, and nobody else by any detour."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from doorbuster_load.safety import Guard, RefusedHostError, endpoint_of, is_loopback

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/x",
        "http://127.9.9.9/",
        "http://localhost:1/",
        "http://LOCALHOST./",
        "http://[::1]:5/",
        "http://user:secret@127.0.0.1/",
    ],
)
def test_this_machine_is_free(url: str) -> None:
    assert is_loopback(Guard().check(url).host)


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/",
        "http://127.0.0.1.example.com/",
        "http://127.0.0.1@example.com/",
        "http://localhost.example.com/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://[::ffff:8.8.8.8]/",
        "http://[fe80::1]/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "//127.0.0.1/",
        "http://",
        "http://[broken/",
        "http://127.0.0.1:99999/",
    ],
)
def test_everybody_else_is_refused(url: str) -> None:
    """Look-alikes, short forms and other schemes included."""
    with pytest.raises(RefusedHostError):
        Guard().check(url)


def test_an_allowed_host_is_allowed_on_its_port_only() -> None:
    guard = Guard.of(["Shop.Example.com:8443", "10.0.0.1"])
    assert guard.check("https://shop.example.com:8443/x").port == 8443
    assert guard.check("http://10.0.0.1:77/").host == "10.0.0.1"
    for url in ("https://shop.example.com/", "https://www.shop.example.com:8443/"):
        with pytest.raises(RefusedHostError, match="--allow-host"):
            guard.check(url)


@pytest.mark.parametrize("text", ["", "*", "*.example.com", "http://a", "a/b", "a:x", "u@a"])
def test_patterns_and_urls_are_no_hosts(text: str) -> None:
    with pytest.raises(RefusedHostError, match="HOST or HOST:PORT"):
        Guard.of([text])


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fe80::1"])
def test_an_allowed_name_may_not_lead_to_a_special_address(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """One bad address among good ones refuses the whole name."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.7", 0)),
        (family, socket.SOCK_STREAM, 6, "", (address, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(RefusedHostError, match="no load goes there"):
        Guard.of(["shop.test"]).resolve()


def test_names_are_looked_up_once_and_travel_to_the_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A worker connects to the addresses that were checked, whatever a name server says later."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("203.0.113.7", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    guard = Guard.of(["shop.test:443"])
    guard.resolve()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("looked up again"))
    guard.resolve()
    worker = Guard.from_json(json.loads(json.dumps(guard.to_json())))
    assert worker.addresses_of(endpoint_of("https://shop.test/")) == ["203.0.113.7"]
    with pytest.raises(RefusedHostError, match="no checked address"):
        worker.addresses_of(endpoint_of("https://other.test/"))


WATCHER = """\
import sys
watched = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
           "socket.sendmsg", "subprocess.Popen", "os.posix_spawn", "os.fork")
def hook(event, arguments):
    if event in watched:
        sys.stderr.write(f"LEAK {event} {arguments}\\n")
sys.addaudithook(hook)
from doorbuster.cli import main
main()
"""


def watched(*arguments: str, token: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command line with an ear on every socket call and every new process."""
    environment = {"HTTP_PROXY": "http://127.0.0.1:9", "NUMBA_DISABLE_JIT": "1"}
    return subprocess.run(
        [sys.executable, "-c", WATCHER, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment, "DOORBUSTER_ADMIN_TOKEN": token},
        timeout=60,
    )


@pytest.mark.live
@pytest.mark.parametrize("host", ["shop.example.com", "10.255.255.1"])
def test_a_host_that_is_not_allowed_never_hears_of_it(tmp_path: Path, host: str) -> None:
    """Exit 2 before any packet, name look-ups included, and before any process is started."""
    scenario = str(ROOT / "scenarios" / "demo.yaml")
    done = watched("load", scenario, "--target", f"http://{host}", "--results", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert f"--allow-host {host}:80" in done.stderr
    assert "LEAK" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.live
def test_a_missing_admin_token_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """Exit 2 with the variable to set, and its own name if there is one."""
    scenario = str(ROOT / "scenarios" / "demo.yaml")
    arguments = ["load", scenario, "--target", "http://127.0.0.1:9", "--results", str(tmp_path)]
    for variable in ("DOORBUSTER_ADMIN_TOKEN", "MY_TOKEN"):
        done = watched(*arguments, "--admin-token-env", variable)
        assert done.returncode == 2, done.stderr
        assert (
            "--admin-token-env: the profile's reset hook needs an admin token, and "
            f"{variable} is not set; export {variable}=... (serve prints it)"
        ) in done.stderr
        assert "LEAK" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.live
def test_a_target_that_is_no_url_is_named_as_the_option(tmp_path: Path) -> None:
    scenario = str(ROOT / "scenarios" / "demo.yaml")
    done = watched("load", scenario, "--target", "localhost:80", "--results", str(tmp_path))
    assert done.returncode == 2, done.stderr
    assert "--target: is no URL of a host (got 'localhost:80')" in done.stderr


@pytest.mark.live
def test_the_watcher_hears_a_connection(tmp_path: Path) -> None:
    """The test above can fail: a refused connection to this machine is heard, and is exit 4."""
    scenario = str(ROOT / "scenarios" / "demo.yaml")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = f"http://127.0.0.1:{unused.getsockname()[1]}"
        arguments = ["load", scenario, "--target", target, "--results", str(tmp_path)]
        done = watched(*arguments, token="any")
    assert done.returncode == 4, done.stderr
    assert "LEAK socket.connect" in done.stderr
    assert "not reachable" in done.stderr


@pytest.mark.live
def test_a_foreign_host_has_a_rate_ceiling(tmp_path: Path) -> None:
    """More than the ceiling is refused before the name is looked up."""
    scenario = str(ROOT / "scenarios" / "demo.yaml")
    done = watched(
        "load", scenario, "--target", "http://shop.test", "--allow-host", "shop.test",
        "--rate-ceiling", "5", "--results", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "allowed: at most 5" in done.stderr
    assert "LEAK" not in done.stderr
