# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_ansible: validated options in, a task's result out, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.hubops.jupyterhub.plugins.module_utils import _ansible
from ansible_collections.hubops.jupyterhub.plugins.module_utils._ansible import (
    CONNECTION_OPTIONS,
    HubModule,
    exclude_shown_secrets,
    find_secrets,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import SpawnFailed, printable
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import Action, Flow, Plan, Result
from ansible_collections.hubops.jupyterhub.plugins.modules.hub_token import MODULE as HUB_TOKEN

TOKEN = "s3cr3t"
OPTIONS: dict[str, Any] = {
    "hub_url": "https://hub.example.org/jhub/hub/api", "api_token": TOKEN, "validate_certs": True, "ca_path": None,
    "client_cert": None, "client_key": None, "request_timeout": "2m",
}  # fmt: skip


class FlowThat(Flow):
    """Plans one action. ``apply`` raises what the test says."""

    def __init__(self, raises: Exception | None = None) -> None:
        self.raises = raises
        self.applied = False
        self.connection: Any = None

    def __call__(self, hub: Any, options: dict[str, Any], report: Any) -> FlowThat:
        self.connection = hub.connection
        report("at work")
        return self

    def plan(self) -> Plan:
        return Plan((Action("start", "it", "it is not running"),), {}, {}, predicted={"servers": ["predicted"]})

    def apply(self, plan: Plan) -> Result:
        self.applied = True
        if self.raises:
            raise self.raises
        return Result({"servers": ["done"]}, plan.actions)


def perform(
    flow: Any, *, check_mode: bool = False, verbosity: int = 0, lines: list[str] | None = None, **options: Any
) -> dict[str, Any]:
    report = (lines if lines is not None else []).append
    return HubModule({}, flow).run({**OPTIONS, **options}, check_mode=check_mode, verbosity=verbosity, report=report)


def test_options_are_all_there_for_the_connection() -> None:
    assert OPTIONS.keys() == CONNECTION_OPTIONS.keys()
    flow = FlowThat()
    perform(flow)
    assert flow.connection.hub_url == "https://hub.example.org/jhub/"
    assert (flow.connection.api_token, flow.connection.request_timeout) == (TOKEN, 120.0)


def test_what_others_wrote_is_one_line_and_no_command_to_the_terminal() -> None:
    forged = "gone\n\x1b[2Jfatal: [localhost]: FAILED!\u202e\ud800"

    class Forged(FlowThat):
        def __call__(self, hub: Any, options: dict[str, Any], report: Any) -> FlowThat:
            report(forged)
            return self

        def plan(self) -> Plan:
            return Plan((Action("stop", forged, forged),), {}, {}, predicted={"data": forged})

    lines: list[str] = []
    result = perform(Forged(), lines=lines, check_mode=True)
    [action] = result["actions"]
    assert all(text.isprintable() for text in (*lines, action["object"], action["why"]))
    assert (action["verb"], result["data"]) == ("stop", forged)
    failed = perform(Forged(SpawnFailed(forged * 200, forged, reason=forged)))
    assert failed["msg"].isprintable()
    assert len(failed["msg"]) < 10000
    assert failed["msg"] == f"{failed['failure']['message']} {failed['failure']['hint']}"


def test_a_secret_that_the_flow_comes_to_hold_is_in_nothing_that_is_told() -> None:
    secret = "minted-0123456789"

    class TakingToken(FlowThat):
        def __call__(self, hub: Any, options: dict[str, Any], report: Any) -> FlowThat:
            hub.with_token(secret)
            hub.with_token("short")
            report(f"a proxy echoes {secret}")
            return self

    lines: list[str] = []
    echo = SpawnFailed(f"echo of {secret}, short", f"see {secret}", reason=secret, result={"reason": secret})
    result = perform(TakingToken(echo), lines=lines)
    assert secret not in str(result) + "".join(lines)
    assert "short" in result["msg"]


@pytest.mark.parametrize("before", [*range(1960, 2001, 4), 3960, 3990])
def test_no_piece_of_it_is_left_where_a_text_is_cut(before: int) -> None:
    secret = "minted-0123456789"

    class TakingToken(FlowThat):
        def __call__(self, hub: Any, options: dict[str, Any], report: Any) -> FlowThat:
            hub.with_token(secret)
            report("x" * before + secret + "y" * 5000)
            return self

    lines: list[str] = []
    cut = printable("x" * (before - 20) + secret + "y" * 9000)
    servers = [{"reason": cut}]
    echo = SpawnFailed(f"{cut} and {'x' * before}{secret}", "x" * before + secret, result={"servers": servers})
    text = str(perform(TakingToken(echo), lines=lines)) + "".join(lines)
    assert "xxx" in text
    assert secret[:5] not in text


@pytest.mark.parametrize("fails", [False, True])
def test_the_secrets_of_the_options_are_masked_and_those_of_the_hub_are_added(fails: bool) -> None:
    secrets, minted = {"hunter2pw"}, "minted-0123456789"

    class Telling(FlowThat):
        def __call__(self, hub: Any, options: dict[str, Any], report: Any) -> FlowThat:
            hub.with_token(minted)
            report("hunter2pw is wrong")
            return self

        def apply(self, plan: Plan) -> Result:
            if fails:
                raise SpawnFailed("hunter2pw is wrong", "See hunter2pw.", result={"reason": "hunter2pw"})
            return Result({"data": ["hunter2pw", minted]})

    lines: list[str] = []
    module = HubModule({}, Telling())
    result = module.run(OPTIONS, check_mode=False, verbosity=0, report=lines.append, secrets=secrets)
    assert result.get("failed", False) is fails
    assert len(lines) == 1
    assert "hunter2pw" not in f"{result}{lines}"
    assert minted not in str(result)
    assert secrets == {"hunter2pw", minted}, "the caller masks the invocation with all of them"


def test_ansible_gets_the_secrets_that_are_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It masks them in everything that it shows from then on, so a short one would make other texts unreadable."""

    class Minting(FlowThat):
        def __call__(self, hub: Any, options: dict[str, Any], report: Any) -> FlowThat:
            hub.with_token("minted-0123456789")
            return self

        def apply(self, plan: Plan) -> Result:
            return Result({"tokens": [{"token": "shown-0123456789"}, {"token": None}]})

    registered: set[str] = set()
    monkeypatch.setattr(_ansible, "register_secrets", registered.update)
    module = HubModule({}, Minting())
    secrets = {"admin", "a-long-password"}
    result = module.run(OPTIONS, check_mode=False, verbosity=0, report=lambda line: None, secrets=secrets)
    assert result["tokens"][0]["token"] == "shown-0123456789"
    assert registered == {"a-long-password", "minted-0123456789", "shown-0123456789"}


SECRET_SPEC: dict[str, dict[str, Any]] = {
    "api_token": {"type": "str", "no_log": True},
    "path": {"type": "path", "no_log": False},
    "items": {
        "type": "list",
        "elements": "dict",
        "options": {
            "api_token": {"type": "str", "no_log": True},
            "code": {"type": "list", "elements": "dict", "options": {"code": {"type": "str"}}},
        },
    },
}


@pytest.mark.parametrize(
    ("items", "more"),
    [
        (None, set()),
        ([{"api_token": "one"}, {"api_token": "two"}], {"one", "two"}),
        ([{"api_token": "one", "code": "a text"}, "no dictionary"], {"one"}),
        ({"api_token": "one"}, {"one"}),
        ('{"api_token": "one"}', {"one"}),
        (["api_token=one"], {"one"}),
        ("user: alice, api_token: one", {"user: alice, api_token: one", " api_token: one"}),
        (["short", 7, None, ["deep"]], set()),
        (7, set()),
    ],
)
def test_secret_options_are_found_however_wrong_others_are(items: Any, more: set[str]) -> None:
    options = {"api_token": "whole", "path": "known", "items": items}
    assert find_secrets(SECRET_SPEC, options) == {"whole", *more}


def test_but_for_what_the_result_is_there_to_tell() -> None:
    secret = "minted-0123456789"

    class Minting(FlowThat):
        def __call__(self, hub: Any, options: dict[str, Any], report: Any) -> FlowThat:
            hub.with_token(secret)
            return self

        def apply(self, plan: Plan) -> Result:
            return Result({"token": secret})

    assert perform(Minting())["token"] == secret


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_result(check_mode: bool) -> None:
    flow = FlowThat()
    result = perform(flow, check_mode=check_mode)
    assert result["servers"] == ["predicted" if check_mode else "done"]
    assert result["changed"] is True
    assert flow.applied is not check_mode
    assert "failed" not in result


def test_a_line_on_how_it_goes_names_the_hub() -> None:
    lines: list[str] = []
    perform(FlowThat(), lines=lines)
    assert lines == ["hub.example.org/jhub: at work"]


def test_a_failure_is_a_result_with_what_is_known_besides() -> None:
    result = perform(FlowThat(SpawnFailed("No.", "Fix it.", result={"changed": True, "servers": ["failed"]})))
    assert (result["failed"], result["changed"], result["servers"]) == (True, True, ["failed"])
    assert (result["msg"], result["failure"]["code"]) == ("No. Fix it.", "spawn_failed")
    assert "exception" not in result


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hub_url": None}, "JUPYTERHUB_URL"),
        ({"hub_url": "hub"}, "https://"),
        ({"request_timeout": "soon"}, "request_timeout"),
        ({"api_token": f"{TOKEN}\n{TOKEN}"}, "api_token"),
        ({"ca_path": "/does/not/exist"}, "ca_path"),
    ],
)
def test_options_that_make_no_sense_are_a_failure_before_anything_is_done(options: dict[str, Any], words: str) -> None:
    flow = FlowThat()
    result = perform(flow, **options)
    assert (result["failed"], result["changed"], result["failure"]["code"]) == (True, False, "invalid")
    assert words in result["msg"]
    assert TOKEN not in str(result)
    assert flow.connection is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"user": "a", "note": "n\ud800", "scopes": ["self"]}, "note holds"),
        ({"user": "a\udcff", "note": "n", "scopes": ["self"]}, "user holds"),
        ({"user": "a", "note": "n", "scopes": ["self", "s\ud800"]}, "scopes[1] holds"),
        ({"user": "a", "note": "n", "scopes": ["self"], "path": "/p\ud800"}, "path holds"),
        ({"user": "a", "note": "n", "scopes": ["self"], "secret": "hidden\ud800"}, "secret holds"),
        ({"tokens": [{"user": "a", "note": "n\ud800", "scopes": ["self"]}]}, "tokens[0].note holds"),
        ({"user": "a", "note": "n", "scopes": ["self"], "hub_url": "https://h\ud800/"}, "hub_url holds"),
    ],
)
def test_half_a_character_in_an_option_is_told_with_its_name(options: dict[str, Any], named: str) -> None:
    checked = ArgumentSpecValidator(HUB_TOKEN.argument_spec, **HUB_TOKEN.rules).validate(
        {"hub_url": "https://hub.example.org/", "api_token": TOKEN, **options}
    )
    assert not checked.error_messages
    result = HUB_TOKEN.run(checked.validated_parameters, check_mode=False, verbosity=0, report=lambda line: None)
    assert (result["failed"], result["failure"]["code"]) == (True, "invalid")
    assert result["msg"].startswith(named)
    assert "hidden" not in str(result)


@pytest.mark.parametrize("error", [KeyError("offset"), TypeError("'NoneType' object is not iterable"), ValueError()])
@pytest.mark.parametrize("verbosity", [0, 2, 3])
def test_what_nobody_thought_of_is_one_sentence(error: Exception, verbosity: int) -> None:
    result = perform(FlowThat(error), verbosity=verbosity)
    assert (result["failed"], result["failure"]["code"]) == (True, "unexpected_answer")
    assert type(error).__name__ in result["msg"]
    assert "Traceback" not in result["msg"]
    assert "\n" not in result["msg"]
    assert ("exception" in result) is (verbosity >= 3)
    if verbosity >= 3:
        assert "Traceback" in result["exception"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure(error: type[BaseException]) -> None:
    def interrupted(*_arguments: Any) -> Any:
        raise error

    with pytest.raises(error):
        perform(interrupted)


@pytest.mark.parametrize(
    ("result", "masked"),
    [
        ({"token": None}, {"a", "0123456789"}),
        ({"token": "ab12"}, {"0123456789"}),
        ({"tokens": [{"token": None}, {"token": "ab12"}]}, {"0123456789"}),
        ({"token": {"name": "alice"}, "tokens": None}, {"a", "0123456789"}),  # as hub_info has it
        ({}, {"a", "0123456789"}),
    ],
)
def test_a_secret_that_is_told_survives_what_is_masked(result: dict[str, Any], masked: set[str]) -> None:
    assert exclude_shown_secrets({"a", "0123456789"}, result) == masked


# The hub's address in the environment


def address(monkeypatch: pytest.MonkeyPatch, **env: str) -> str | None:
    for name in ("JUPYTERHUB_URL", "JUPYTERHUB_PUBLIC_HUB_URL", "JUPYTERHUB_API_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    checked = ArgumentSpecValidator(CONNECTION_OPTIONS).validate({})
    assert not checked.error_messages
    found: str | None = checked.validated_parameters["hub_url"]
    return found


def test_the_public_address_comes_before_the_internal_one(monkeypatch: pytest.MonkeyPatch) -> None:
    internal = {"JUPYTERHUB_API_URL": "http://10.0.0.1:8081/hub/api"}
    public = {"JUPYTERHUB_PUBLIC_HUB_URL": "https://hub.example.org/jhub/hub/"}
    configured = {"JUPYTERHUB_URL": "https://own.example.org/hub/"}  # below a path of that name
    assert address(monkeypatch) is None
    assert address(monkeypatch, **internal) == "http://10.0.0.1:8081/hub/api"
    assert address(monkeypatch, **internal, **public) == "https://hub.example.org/jhub/"
    assert address(monkeypatch, **internal, **public, **configured) == "https://own.example.org/hub/"


@pytest.mark.parametrize(
    ("url", "managed", "internal"),
    [
        ("http://10.0.0.1:8888/hub/api", True, True),
        ("http://hub:8081/hub/api", False, True),  # a scheduled job beside the hub, which knows this address only
        ("https://hub.example.org/hub/api", False, False),
    ],
)
def test_whoever_knows_the_internal_address_only_is_told_so(
    url: str, managed: bool, internal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_URL", url)
    monkeypatch.delenv("JUPYTERHUB_SERVICE_NAME", raising=False)
    if managed:
        monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/services/verify/")
    else:
        monkeypatch.delenv("JUPYTERHUB_SERVICE_PREFIX", raising=False)

    class Asking(FlowThat):
        def plan(self) -> Plan:
            self.connection.check_servers()
            return super().plan()

    result = perform(Asking(), hub_url=url)
    assert result.get("failed", False) is internal
    if internal:
        assert result["failure"]["code"] == "invalid"
        assert "JUPYTERHUB_URL in the environment" in result["msg"]
    assert "failed" not in perform(Asking())
