"""Target profiles: what they may say, what is refused, and what becomes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from doorbuster.vocabulary import Reply
from doorbuster_load.exchange import Outgoing, Received
from doorbuster_load.profile.extraction import Extraction
from doorbuster_load.profile.jsonpath import MISSING
from doorbuster_load.profile.matching import Condition
from doorbuster_load.profile.model import Request
from doorbuster_load.profile.prepared import PreparedRequest, RequestError
from doorbuster_load.profile.reading import ProfileError, find_profile, read_profile
from doorbuster_load.profile.schema import committed_schema_text, schema_text
from doorbuster_load.profile.templates import (
    MissingVariableError,
    text_template,
    url_template,
    value_template,
)

TARGET = "http://127.0.0.1:9"

MINIMAL = """\
version: 1
name: tiny
steps:
  reserve:
    - {url: "/r/{{sku}}", outcome: [{status: 200, reply: ok}]}
  pay:
    - {url: /pay, json: {n: "{{quantity}}"}, outcome: [{status: 200, reply: ok}]}
"""


def received(
    body: bytes | str = b"", *, status: int = 200, url: str = TARGET, **headers: str
) -> Received:
    """An answer as the network might give it; header names with _ for -."""
    named = {name.replace("_", "-").lower(): [value] for name, value in headers.items()}
    content = body.encode() if isinstance(body, str) else body
    return Received(status, lambda name: named.get(name.lower(), []), content, url, 1, 2)


def prepared(**request: Any) -> PreparedRequest:
    """A request of a profile, compiled."""
    return PreparedRequest(Request.model_validate({"url": "/x", **request}), TARGET, Path())


@pytest.fixture
def problems(tmp_path: Path) -> Callable[[str], list[str]]:
    """Reads a profile text and gives the sentences about its mistakes."""

    def read(text: str) -> list[str]:
        path = tmp_path / "shop.yaml"
        path.write_text(text)
        with pytest.raises(ProfileError) as caught:
            read_profile(path)
        return [problem.removeprefix(str(path)) for problem in caught.value.problems]

    return read


# --- reading ---


def test_the_reference_shop_is_driven_by_a_profile_file() -> None:
    """No code knows the reference shop: its profile is read like any other."""
    file = read_profile(find_profile("reference"))
    assert file.profile.name == "reference"
    assert file.profile.hooks.audit is not None
    assert file.path.name == "reference.yaml"


def test_the_committed_schema_is_the_generated_one() -> None:
    """Editors see what the model says; renew the file with profile.schema.schema_text()."""
    assert committed_schema_text() == schema_text()


def test_the_schema_accepts_the_reference_profile() -> None:
    """The schema is no stricter than the reader, and refuses an unknown key."""
    jsonschema = pytest.importorskip("jsonschema")
    from ruamel.yaml import YAML

    text = find_profile("reference").read_text("utf-8")
    document = YAML(typ="safe").load(text)
    validator = jsonschema.Draft202012Validator(json.loads(schema_text()))
    assert list(validator.iter_errors(document)) == []
    assert list(validator.iter_errors({**document, "stepz": {}}))


def test_an_unknown_profile_names_the_built_in_ones() -> None:
    with pytest.raises(ProfileError, match=r"got 'referense'.*reference.*did you mean"):
        find_profile("referense")


def test_a_directory_is_no_profile(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"profile: a directory \(got .*give the path of a YAML"):
        find_profile(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "place", "said"),
    [
        (("steps:", "stepz: 1\nsteps:"), ":3:1: stepz", "did you mean 'steps'"),
        (("{{sku}}", "{{skku}}"), ":5:13: steps.reserve[0].url", "did you mean 'sku'"),
        (("{{quantity}}", "{{ quantity"), ":7:29: steps.pay[0].json.n", "starts no variable"),
        (("reply: ok}]}\n  pay", "reply: okk}]}\n  pay"), ":5:58: steps.reserve", "got 'okk'"),
        (("status: 200", "status: 99"), ":5:46: steps.reserve", "100 to 599"),
        (("status: 200", "json: {'$.[': 1}"), "steps.reserve", "is no JSONPath"),
        (("status: 200", "text: {matches: '('}"), "steps.reserve", "no regular expression"),
        (("{{sku}}", "{{env:NOBODY_SETS_THIS}}"), ":5:13", "NOBODY_SETS_THIS is not set"),
        (("url: /pay", "url: /pay, form: {a: b}"), "steps.pay[0]", "2 bodies"),
        (("url: /pay", "python: 'nowhere:f'"), "steps.pay[0].python", "No module named"),
        (("url: /pay", "url: /pay, when: {variable: x, exists: true}"), "when", "got 'x'"),
        (("reply: ok}", "reply: ok, python: 'a:b'}"), "steps.reserve", "not both"),
        (("json: {n", "extract: {id: {header: A, cookie: B}}, json: {n"), "extract.id",
         "exactly one"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(
    problems: Callable[[str], list[str]], change: tuple[str, str], place: str, said: str
) -> None:
    """Each mistake names line, column, path, what was given and what is allowed."""
    text = MINIMAL.replace(*change, 1)
    assert text != MINIMAL
    found = problems(text)
    assert any(place in problem and said in problem for problem in found), found


def test_all_mistakes_are_told_at_once(problems: Callable[[str], list[str]]) -> None:
    text = MINIMAL.replace("{{sku}}", "{{a}}").replace("{{quantity}}", "{{b}}")
    assert len(problems(text)) == 2


def test_pending_needs_a_poll_step(problems: Callable[[str], list[str]]) -> None:
    text = MINIMAL + "\n".join(["    - {url: /q, outcome: [{status: 202, reply: pending}]}", ""])
    assert any("no poll step" in problem for problem in problems(text))


def test_only_payments_can_pend(problems: Callable[[str], list[str]]) -> None:
    text = MINIMAL.replace("reply: ok", "reply: pending", 1)
    assert any("only pay and poll can" in problem for problem in problems(text))


def test_a_file_of_credentials_makes_variables(
    tmp_path: Path, problems: Callable[[str], list[str]]
) -> None:
    """Its columns are known names; a file that is missing is a mistake at its place."""
    text = MINIMAL.replace("{{sku}}", "{{login}}")
    text += "visitor: {credentials: {file: people.csv}}\n"
    assert any("people.csv: cannot be read" in problem for problem in problems(text))
    (tmp_path / "people.csv").write_text("login,password\nann,1\nbob,2\n")
    (tmp_path / "shop.yaml").write_text(text)
    assert read_profile(tmp_path / "shop.yaml").profile.visitor.credentials is not None


def test_the_examples_of_the_page_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every YAML block of docs/target-profiles.md, the parts put into the smallest profile."""
    from ruamel.yaml import YAML

    yaml = YAML(typ="safe")
    page = (Path(__file__).resolve().parents[1] / "docs" / "target-profiles.md").read_text("utf-8")
    blocks = [yaml.load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    smallest, *parts = [block for block in blocks if block is not None]
    assert len(parts) == 4
    (tmp_path / "my_shop.py").write_text("def outcome(answer, variables):\n    return None\n")
    (tmp_path / "people.csv").write_text("login,password\nann,1\n")
    monkeypatch.syspath_prepend(tmp_path)
    for part in parts:
        profile = deepcopy(smallest)
        of_request = {key: part.pop(key) for key in ("extract", "outcome") if key in part}
        profile["steps"]["reserve"][0] = {**profile["steps"]["reserve"][0], **of_request}
        profile["steps"]["pay"][0]["url"] = "/pay"
        path = tmp_path / "shop.yaml"
        path.write_text(json.dumps({**profile, **part}))
        assert read_profile(path).profile.name == "my-shop"


# --- templates ---


def test_a_lone_variable_keeps_its_type() -> None:
    """`{{quantity}}` is a number in JSON, `x{{quantity}}` a text; any depth, keys too."""
    tree = {"a": ["{{quantity}}", {"x{{quantity}}": "n={{ quantity }}"}], "b": True}
    assert value_template(tree)({"quantity": 2}) == {"a": [2, {"x2": "n=2"}], "b": True}


def test_what_goes_into_a_url_is_encoded() -> None:
    """A sku cannot break out of its path segment; a whole URL is left alone."""
    assert (
        url_template("/i/{{sku}}?q={{sku}}")({"sku": "a/b c&d"})
        == "/i/a%2Fb%20c%26d?q=a%2Fb%20c%26d"
    )
    assert url_template("{{next}}")({"next": "http://h/a?b=c"}) == "http://h/a?b=c"


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(MissingVariableError, match="reservation_id"):
        text_template("x{{reservation_id}}")({})


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    assert text_template("Bearer {{env:SHOP_KEY}}")({}) == "Bearer s3cret"


# --- bodies ---


@pytest.mark.parametrize(
    ("request_", "method", "content_type", "body"),
    [
        ({"json": {"q": "{{quantity}}"}}, "POST", "application/json", b'{"q":2}'),
        ({"form": {"s": "{{sku}}", "n": ["{{quantity}}", 3]}}, "POST",
         "application/x-www-form-urlencoded", b"s=a+b&n=2&n=3"),
        ({"graphql": {"query": "mutation {{ {x} }}", "variables": {"n": "{{quantity}}"}}}, "POST",
         "application/json", b'{"query":"mutation {{ {x} }}","variables":{"n":2}}'),
        ({"text": "<q>{{quantity}}</q>", "headers": {"Content-Type": "text/xml"}, "method": "PUT"},
         "PUT", "text/xml", b"<q>2</q>"),
        ({}, "GET", None, None),
    ],
)  # fmt: skip
def test_every_kind_of_body(
    request_: dict[str, Any], method: str, content_type: str | None, body: bytes | None
) -> None:
    outgoing = prepared(**request_).build({"quantity": 2, "sku": "a b"})
    assert outgoing.method == method
    assert outgoing.headers.get("Content-Type") == content_type
    assert outgoing.body == body


def test_query_parameters_are_added() -> None:
    """Lists repeat a parameter, null leaves it out, what the URL has stays."""
    query = {"n": "{{quantity}}", "tag": ["a", "b"], "none": None}
    outgoing = prepared(url="/x?k=1", query=query).build({"quantity": 2})
    assert outgoing.url == f"{TARGET}/x?k=1&n=2&tag=a&tag=b"


def test_a_function_may_build_a_request_and_tell_its_outcome(tmp_path: Path) -> None:
    """The escape hatch: a module beside the profile."""
    (tmp_path / "my_signing.py").write_text(
        "def sign(variables):\n"
        "    return {'headers': {'X-Sig': variables['sku'][::-1]}, 'json': {'a': 1}}\n"
        "def told(answer, variables):\n"
        "    return 'sold_out' if answer.document.get('left') == 0 else None\n"
    )
    request = Request.model_validate(
        {
            "url": "/p/{{sku}}",
            "python": "my_signing:sign",
            "outcome": [{"python": "my_signing:told"}, {"status": 200, "reply": "ok"}],
        }
    )
    compiled = PreparedRequest(request, TARGET, tmp_path)
    outgoing = compiled.build({"sku": "abc"})
    assert outgoing == Outgoing(
        "POST",
        f"{TARGET}/p/abc",
        {"X-Sig": "cba", "Content-Type": "application/json"},
        b'{"a":1}',
    )
    assert compiled.classify(received('{"left":0}'), {}) is Reply.SOLD_OUT
    assert compiled.classify(received('{"left":1}'), {}) is Reply.OK


# --- outcomes ---

SOLD_OUT_RULES = [
    {"status": 200, "json": {"$.code": 0}, "reply": "ok"},
    {"status": 200, "text": "sold OUT", "reply": "sold_out"},
    {"status": "400-409", "json": {"$.errors[0].code": {"one_of": ["gone", "none"]}},
     "reply": "sold_out"},
    {"status": 406, "reply": "sold_out"},
    {"status": 409, "header": {"X-Reason": {"matches": "^limit"}}, "reply": "limited"},
    {"status": "4xx", "json": {"$.left": {"at_most": 0}}, "reply": "sold_out"},
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (received('{"code":0}'), Reply.OK),
        (received('{"code":false}'), Reply.ERROR),
        (received("<p>Sold out!</p>"), Reply.SOLD_OUT),
        (received('{"errors":[{"code":"gone"}]}', status=400), Reply.SOLD_OUT),
        (received('{"errors":[{"code":"typo"}]}', status=400), Reply.ERROR),
        (received("", status=406), Reply.SOLD_OUT),
        (received("", status=409, x_reason="limit reached"), Reply.LIMITED),
        (received("{}", status=409), Reply.ERROR),
        (received('{"left":-1}', status=422), Reply.SOLD_OUT),
        (received("", status=503), Reply.OVERLOADED),
        (received("", status=429), Reply.OVERLOADED),
        (received("", status=500), Reply.ERROR),
    ],
)
def test_ordered_rules_tell_the_outcome(answer: Received, reply: Reply) -> None:
    """Sold out may be a 200, 400, 406 or 409, and the same status may mean a mistake."""
    assert prepared(outcome=SOLD_OUT_RULES).classify(answer, {}) is reply


def test_no_answer_is_an_error_or_a_timeout() -> None:
    broken, late = received(), received()
    broken.failure = "reset"
    late.failure, late.timed_out = "timed out", True
    rules = prepared(outcome=[{"status": [200], "reply": "ok"}])
    assert rules.classify(broken, {}) is Reply.ERROR
    assert rules.classify(late, {}) is Reply.TIMEOUT


def test_a_condition_knows_true_from_one() -> None:
    condition = Condition.model_validate({"json": {"$.ok": True}}).predicate()
    assert condition(received('{"ok":true}'))
    assert not condition(received('{"ok":1}'))
    assert not condition(received("no json"))


# --- extraction ---


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ({"json": "$.data.ids[1]"}, 7),
        ({"json": "$.data.ids[1]", "as": "text"}, "7"),
        ({"json": "$..sku"}, "tv"),
        ({"json": "$.data.none"}, MISSING),
        ({"json": "$.data.none", "default": None}, None),
        ({"header": "x-token"}, "abc-42"),
        ({"header": "X-Token", "matching": r"-(\d+)$", "as": "int"}, 42),
        ({"cookie": "sid"}, "s1"),
        ({"text": r'"sku": *"(\w+)"'}, "tv"),
        ({"url": "final", "matching": r"/orders/(\d+)"}, "12"),
        ({"url": "location", "query": "order"}, "9 9"),
        ({"url": "location"}, "http://127.0.0.1:9/done?order=9%209"),
    ],
)
def test_values_are_taken_from_everywhere(source: dict[str, Any], value: Any) -> None:
    """JSON, header, cookie, text, final URL, Location; a whole JSONPath where it is needed."""
    answer = received(
        '{"data":{"ids":[5,7]},"items":[{"sku": "tv"}]}',
        url=f"{TARGET}/orders/12",
        x_token="abc-42",
        location="/done?order=9%209",
    )
    answer.cookies = {"sid": "s1"}
    assert Extraction.model_validate(source).extractor()(answer) == value


@pytest.mark.parametrize(
    ("html", "value"),
    [
        ("<form><input type=hidden name=csrf value='t&amp;1'></form>", "t&1"),
        ("<INPUT VALUE=x NAME=csrf><input name=csrf value=second>", "x"),
        ("<meta content=m1 name=csrf>", "m1"),
        ("<textarea name=csrf>in\nside</textarea>", "in\nside"),
        ("<select name=csrf><option value=a><option value=b selected></select>", "b"),
        ("<input name=csrf>", ""),
        ("<input name=other value=1>", MISSING),
    ],
)
def test_form_fields_are_found(html: str, value: Any) -> None:
    extract = Extraction.model_validate({"form_field": "csrf"}).extractor()
    assert extract(received(html)) == value


def test_a_good_answer_without_its_value_is_an_error() -> None:
    """A profile that does not fit is noticed; a refusal need not hold the value."""
    compiled = prepared(extract={"rid": {"json": "$.id"}}, outcome=[{"status": 200, "reply": "ok"}])
    variables: dict[str, Any] = {}
    compiled.extract(received("{}", status=409), Reply.SOLD_OUT, variables)
    with pytest.raises(RequestError, match="rid is not in the answer"):
        compiled.extract(received("{}"), Reply.OK, variables)
    compiled.extract(received('{"id":5}'), Reply.OK, variables)
    assert variables == {"rid": 5}


def test_text_is_read_in_the_charset_of_the_answer() -> None:
    answer = received("已售罄".encode("gbk"), content_type="text/html; charset=GBK")
    assert answer.text == "已售罄"
    assert received(b"\xff", content_type="text/html; charset=nonsense").text == "\ufffd"
