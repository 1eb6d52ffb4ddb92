# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role idle_culler decides, without a hub and without systemd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hubops.jupyterhub.plugins.modules import hub_cull
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.idle_culler import (
    RULE,
    complaints,
    files,
    host_complaints,
    numbers,
    pass_interval,
    service,
    summary,
    unit,
)
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._roles.service_account import PURPOSES

ROLE = Path(__file__).resolve().parents[4] / "roles/idle_culler"
POLICY: dict[str, Any] = {
    "idle_timeout": "10m",
    "max_age": "never",
    "cull_users": False,
    "cull_admin_users": True,
    "cull_default_servers": True,
    "cull_named_servers": True,
    "remove_named_servers": False,
    "exclude_users": [],
    "rules": [],
    "max_culls": "",
    "recheck": True,
    "stop_timeout": "2m",
    "concurrency": 10,
    "page_size": 200,
}
CONNECTION = {
    "hub_url": "",
    "validate_certs": "",
    "ca_path": "",
    "client_cert": "",
    "client_key": "",
    "request_timeout": "",
}
SETTINGS: dict[str, Any] = {
    "mode": "pass",
    "url": "https://hub.example.org/",
    "every": "",
    "environment": {},
    "folder": "/srv",
    "config_path": "culler.py",
    "values_path": "",
    "service": "idle-culler",
    "service_url": "",
    "internal_certs_location": "",
    "unit": "hubops-idle-culler",
    "unit_folder": "/etc/systemd/system",
    "calendar": "",
    "randomized_delay": "30s",
    "token_path": "/etc/hubops-idle-culler.token",
    "variables_path": "/etc/hubops-idle-culler.yml",
    "ansible_playbook": "/usr/bin/ansible-playbook",
}
"""The defaults of the role, with a hub and a file to write."""


def settings(mode: str, **given: Any) -> dict[str, Any]:
    """The defaults with these values in place: options of hub_cull, variables ``hub_...``, and all others."""
    policy = {name: given.pop(name) for name in [*given] if name in POLICY}
    url = given.pop("hub_url", SETTINGS["url"])
    hub = {name.removeprefix("hub_"): given.pop(name) for name in [*given] if name.startswith("hub_")}
    connection = {**CONNECTION, "hub_url": url, **hub}
    return {**SETTINGS, "url": url, "mode": mode, "policy": {**POLICY, **policy}, "connection": connection, **given}


# What is wrong


@pytest.mark.parametrize("mode", ["pass", "managed", "timer"])
def test_the_defaults_are_sound(mode: str) -> None:
    assert complaints(settings(mode)) == []


def test_a_pass_is_for_the_module_to_look_at() -> None:
    assert complaints(settings("pass", idle_timeout="soon", config_path="")) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"config_path": ""}, "nothing to write"),
        ({"rules": [{"users": ["a"], "keep": True}]}, "has no option for rules"),
        ({"exclude_users": ["a"]}, "has no option for exclude_users"),
        ({"max_culls": "20%"}, "has no option for max_culls"),
        ({"idle_timeout": "never"}, "such as 3650d"),
        ({"idle_timeout": "soon"}, "idle_culler_idle_timeout: 'soon' is not a duration"),
        ({"idle_timeout": 0}, "idle_culler_idle_timeout: '0' is not a duration"),
        ({"max_age": "-1"}, "idle_culler_max_age: '-1' is not a duration"),
        ({"max_age": "8h", "cull_named_servers": False}, "idle_culler_cull_named_servers"),
        ({"max_age": "8h", "cull_admin_users": False, "cull_users": True}, "idle_culler_cull_admin_users"),
        ({"every": "0"}, "idle_culler_every: '0' is not a duration"),  # jupyterhub-idle-culler crashes
        ({"concurrency": 0}, "idle_culler_concurrency is '0'"),
        ({"page_size": "many"}, "idle_culler_page_size is 'many'"),
        ({"service": "Idle Culler"}, "idle_culler_service is 'Idle Culler'"),
        ({"service": "ic"}, "idle_culler_service is 'ic'"),
        ({"service_url": "localhost:8081"}, "idle_culler_service_url is 'localhost:8081'"),
        ({"environment": {"A B": "c"}}, "idle_culler_environment has 'A B'"),
        ({"environment": "A=1"}, "idle_culler_environment is not a dictionary"),
        ({"idle_timeout": None}, "idle_culler_idle_timeout is empty"),
    ],
)
def test_what_no_service_can_be_made_of_is_said(given: dict[str, Any], says: str) -> None:
    [found] = complaints(settings("managed", **given))
    assert says in found
    assert found.endswith((".", "/hub/api."))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"idle_timeout": "soon"}, "idle_culler_idle_timeout: 'soon' is not a duration"),
        ({"idle_timeout": "never"}, "how often to cull"),
        ({"max_age": "old"}, "idle_culler_max_age: 'old' is not a duration"),
        ({"rules": [{"users": ["a"], "keep": True, "max_age": "1h"}]}, "Rule 1 has a limit, but it keeps"),
        ({"rules": [{"keep": True}, {"admins": True, "keep": True}]}, "Rule 1 matches everything"),
        ({"every": "now"}, "idle_culler_every: 'now' is not a duration"),
        ({"every": "5m", "calendar": "hourly"}, "both given"),
        ({"calendar": "hourly\nOnBootSec=0"}, "more than one line"),
        ({"randomized_delay": "some"}, "idle_culler_randomized_delay"),
        ({"unit": "../x"}, "idle_culler_unit is '../x'"),
        ({"unit_folder": "units"}, "idle_culler_unit_folder is 'units'"),
        ({"token_path": "~/token"}, "idle_culler_token_path is '~/token'"),
        ({"variables_path": "/etc/a\nb"}, "idle_culler_variables_path"),
        ({"ansible_playbook": ""}, "idle_culler_ansible_playbook is ''"),
        ({"hub_ca_path": "ca.pem"}, "hub_ca_path is 'ca.pem'"),
        ({"hub_url": ""}, "hub_url is missing"),
        ({"hub_url": "hub.example.org"}, "hub_url is not an http or https URL"),
        ({"environment": {"A": "b\nExecStart=/bin/sh"}}, "more than one line for 'A'"),
        ({"environment": "A=1"}, "idle_culler_environment is not a dictionary"),
        ({"idle_timeout": None}, "idle_culler_idle_timeout is empty"),
        ({"rules": "keep=true"}, "idle_culler_rules is not a list of dictionaries"),
        ({"rules": [None]}, "idle_culler_rules is not a list of dictionaries"),
        ({"rules": [{"users": ["a"], "keep": "no"}]}, "Rule 1 has neither a limit nor keep"),
        ({"max_culls": "some"}, "max_culls: 'some' is neither"),
        ({"stop_timeout": "soon"}, "idle_culler_stop_timeout: 'soon' is not a duration"),
        ({"hub_request_timeout": "soon"}, "hub_request_timeout: 'soon' is not a duration"),
        ({"concurrency": 0}, "idle_culler_concurrency is '0'"),
        ({"page_size": "-5"}, "idle_culler_page_size is '-5'"),
        ({"ansible_playbook": "/opt/q'x/ansible-playbook"}, "starts no program whose path has quotes"),
    ],
)
def test_what_no_timer_can_be_made_of_is_said(given: dict[str, Any], says: str) -> None:
    [found] = complaints(settings("timer", **given))
    assert says in found
    assert found.endswith(".")


def test_a_text_that_says_no_is_none_to_keep() -> None:
    assert complaints(settings("timer", rules=[{"users": ["a"], "keep": "no", "idle_timeout": "1h"}])) == []


def test_admins_matter_to_users_only() -> None:
    assert complaints(settings("managed", max_age="8h", cull_admin_users=False)) == []


def test_the_options_are_those_of_the_module() -> None:
    """Each is a variable of the role with the same default, and so are the keys of a rule."""
    spec = hub_cull.MODULE.options
    defaults = {name: option.get("default", "") for name, option in spec.items()}
    assert defaults == POLICY
    assert {name: option.get("default") for name, option in spec["rules"]["options"].items()} == RULE
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    for name, option in spec.items():
        described = options[f"idle_culler_{name}"]
        assert (described["type"], described.get("elements")) == (option["type"], option.get("elements")), name
        assert described["default"] == POLICY[name], name
    written = {
        name: (option["type"], option.get("elements"))
        for name, option in options["idle_culler_rules"]["options"].items()
    }
    assert written == {
        name: (option["type"], option.get("elements")) for name, option in spec["rules"]["options"].items()
    }


# The service


def arguments(**given: Any) -> list[str]:
    found = service(settings("managed", **given))["arguments"]
    assert isinstance(found, list)
    return found


def test_the_peer_is_told_in_its_own_words() -> None:
    assert arguments() == ["--timeout=600", "--cull-every=300", "--api-page-size=200"]
    assert arguments(
        idle_timeout="1h", every="90s", max_age="8h", cull_users=True, remove_named_servers=True, concurrency="3"
    ) == [
        "--timeout=3600", "--cull-every=90", "--max-age=28800", "--cull-users=true", "--remove-named-servers=true",
        "--concurrency=3", "--api-page-size=200",
    ]  # fmt: skip
    off = {"cull_admin_users": False, "cull_default_servers": False, "cull_named_servers": False}
    assert arguments(**off)[2:5] == [f"--{name.replace('_', '-')}=false" for name in off]
    assert arguments(internal_certs_location="/srv/ssl")[3:] == [
        "--ssl-enabled=true", "--internal-certs-location=/srv/ssl",
    ]  # fmt: skip


def test_the_peer_never_gets_what_it_dies_of() -> None:
    assert arguments(idle_timeout="1s")[:2] == ["--timeout=1", "--cull-every=1"]
    assert arguments(idle_timeout="0.5s")[0] == "--timeout=1"
    assert arguments(service_url="http://10.0.0.1:8081/hub/api/")[-1] == "--url=http://10.0.0.1:8081/hub/api"


@pytest.mark.parametrize("max_age", ["never", "0", 0, "", None])
def test_no_age_is_no_argument(max_age: Any) -> None:
    assert arguments(max_age=max_age) == arguments()


def test_the_chart_s_hub_is_asked_in_its_own_pod() -> None:
    def url(**given: Any) -> str:
        return str(service(settings("managed", **given))["chart_arguments"][-1])

    assert url() == "--url=http://localhost:8081/hub/api"
    assert url(hub_url="https://hub.example.org/jhub") == "--url=http://localhost:8081/jhub/hub/api"
    assert url(hub_url="") == "--url=http://localhost:8081/hub/api"
    assert url(service_url="http://hub:8081/hub/api") == "--url=http://hub:8081/hub/api"


def test_the_scopes_are_the_least_ones() -> None:
    """The same as the scopes of an account with the same purpose."""
    assert service(settings("managed"))["scopes"] == list(PURPOSES["cull"])
    assert service(settings("managed", cull_users=True))["scopes"] == list(PURPOSES["cull-users"])
    assert "delete:users" not in PURPOSES["cull"]


def test_the_role_writes_the_files_that_are_asked_for() -> None:
    config, values = files(settings("managed", values_path="/etc/values.yaml"))
    assert (config["template"], config["path"]) == ("idle_culler.py.j2", "/srv/culler.py")
    assert values["path"] == "/etc/values.yaml"
    assert all(file["next"].endswith(" Until then the hub culls as it did before.") for file in (config, values))
    for file in (config, values):
        assert (ROLE / "templates" / file["template"]).is_file()


# The timer


def test_a_pass_follows_the_other_in_half_the_time() -> None:
    assert pass_interval(settings("timer")) == 300
    assert pass_interval(settings("timer", every="1h")) == 3600
    assert pass_interval(settings("timer", idle_timeout="1s")) == 1
    assert unit(settings("timer", calendar="hourly", idle_timeout="never"))["every"] == 0
    assert [unit(settings("timer", randomized_delay=delay))["delay"] for delay in ("1m", "0", 0, "")] == [60, 0, 0, 0]


def test_what_systemd_would_expand_is_quoted() -> None:
    found = unit(
        settings(
            "timer",
            ansible_playbook="/opt/my $tools/100%/ansible-playbook",
            token_path="/etc/100%.token",
            hub_url="https://hub.example.org/a%20b/",
            environment={"A": 'b "c" \\d %e $f'},
        )
    )
    assert found["program"] == '"/opt/my $$tools/100%%/ansible-playbook"'
    assert found["credentials"]["token"] == "/etc/100%%.token"
    assert found["url"] == "https://hub.example.org/a%%20b/"
    assert found["environment"] == ['"A=b \\"c\\" \\\\d %%e $f"']


class Loader(yaml.SafeLoader):
    """Knows Ansible's tag for text that is no template."""


Loader.add_constructor("!unsafe", lambda loader, node: ("unsafe", loader.construct_scalar(node)))


def test_the_variables_of_a_pass_are_those_of_the_role() -> None:
    rules = [
        {"users": ["{{ x }}", "\u00e9\u2028\U0001f600\x85", "yes"], "properties": {"a": 1, "b": None}, "keep": True}
    ]
    given = settings("timer", rules=rules, cull_users=True, hub_client_key="/etc/key", hub_validate_certs=False)
    read = yaml.load("\n".join(unit(given)["variables"]), Loader)
    assert read.pop("idle_culler_mode") == "pass"
    assert read.pop("idle_culler_api_token") == (
        "{{ lookup('ansible.builtin.file', lookup('ansible.builtin.env', 'CREDENTIALS_DIRECTORY') ~ '/token') }}"
    )
    [rule] = read.pop("idle_culler_rules")
    assert rule["users"] == [("unsafe", "{{ x }}"), "\u00e9\u2028\U0001f600\x85", "yes"]
    assert (rule["properties"], rule["keep"]) == ({"a": 1, "b": None}, True)
    assert (read.pop("hub_url"), read.pop("hub_validate_certs")) == ("https://hub.example.org/", False)
    # The user of the service may not read the file of the option.
    assert read.pop("hub_client_key").endswith("'CREDENTIALS_DIRECTORY') }}/client_key")
    assert unit(given)["credentials"]["client_key"] == "/etc/key"
    left = {**POLICY, "cull_users": True}
    del left["rules"], left["max_culls"]
    assert read == {f"idle_culler_{name}": value for name, value in left.items()}


TOKEN_FILE = {"exists": True, "mode": "0640"}
SKIPPED = {"skipped": True, "changed": False}


def test_a_host_with_a_private_token_is_sound() -> None:
    assert host_complaints(settings("timer"), SKIPPED, TOKEN_FILE, False) == []
    # Where systemd-analyze is missing, the code is another one.
    assert host_complaints(settings("timer", calendar="often"), {"rc": 2, "stderr": ""}, TOKEN_FILE, False) == []
    # A preview comes before the task that writes the token.
    assert host_complaints(settings("timer"), SKIPPED, {"exists": False}, True) == []


@pytest.mark.parametrize("is_check_mode", [False, True])
def test_what_is_wrong_on_the_host_is_said(is_check_mode: bool) -> None:
    public = {"exists": True, "mode": "0644"}
    wrong = settings("timer", calendar="often")
    found = host_complaints(wrong, {"rc": 1, "stderr": " no time\n"}, public, is_check_mode)
    assert [sentence[:27] for sentence in found] == ["idle_culler_calendar is 'of", "Everybody on this host can "]
    assert "does not understand: no time. Write it" in found[0]


def test_a_pass_needs_a_token() -> None:
    [found] = host_complaints(settings("timer"), SKIPPED, {"exists": False}, False)
    assert found.startswith("There is no file /etc/hubops-idle-culler.token")


# The report of a pass

ANSWER: dict[str, Any] = {
    "changed": True,
    "actions": [
        {"verb": "stop", "object": "server of user 'a'", "why": "idle 2 h, limit 1 h"},
        {"verb": "remove", "object": "server 'gpu' of user 'b'", "why": "idle 3 h, limit 1 h"},
        {"verb": "delete", "object": "user 'c'", "why": "idle 2 h, limit 1 h"},
    ],
    "culled": [{}, {}],
    "users_deleted": [{}],
    "kept_count": {"active": 3, "rule": 0, "pending": 1},
    "users_kept_count": {"active": 0},
    "failures": [],
    "seconds": 1.5,
    "summary": "2 of 6 servers culled",
    "diff": {"before": "", "after": "", "prepared": "- server of user 'a' goes\n  server of user 'd' stays\n"},
}
FORGED = "a\n\x1b[2Jfatal: [localhost]: FAILED!\u202e" + "x" * 5000


def test_the_summary_of_a_pass_says_what_was_done() -> None:
    assert summary(ANSWER, False, True) == [
        "stopped: server of user 'a', idle 2 h, limit 1 h",
        "stopped and removed: server 'gpu' of user 'b', idle 3 h, limit 1 h",
        "deleted: user 'c', idle 2 h, limit 1 h",
        "servers kept: 3 active, 1 pending",
        "2 of 6 servers culled",
    ]
    refused = summary({**ANSWER, "changed": False, "failed": True}, False, False)
    assert refused[0] == "not stopped: server of user 'a', idle 2 h, limit 1 h"


def test_a_preview_says_what_a_pass_would_do_and_why() -> None:
    preview = ["- server of user 'a' goes", "  server of user 'd' stays"]
    rest = ["servers kept: 3 active, 1 pending", "2 of 6 servers culled"]
    assert summary(ANSWER, True, False) == [*preview, *rest]
    # Ansible has shown the difference.
    assert summary(ANSWER, True, True) == rest
    # Without a change, Ansible shows none.
    assert summary({**ANSWER, "changed": False}, True, True) == [*preview, *rest]


def test_the_summary_names_each_failure_in_one_line() -> None:
    failed = {"failure": {"message": "it did not stop"}}
    failures = [
        {"user": "a", "server_name": "", **failed},
        {"user": "b", "server_name": "gpu", **failed},
        {"user": "c", "server_name": None, **failed},
        {"user": FORGED, "server_name": FORGED, **failed},
    ]
    lines = summary({**ANSWER, "failures": failures}, False, False)[3:7]
    assert lines[:3] == [
        "failed: default server of 'a': it did not stop",
        "failed: server 'gpu' of 'b': it did not stop",
        "failed: user 'c': it did not stop",
    ]
    assert lines[3].startswith("failed: server 'a \\x1b[2Jfatal: ")
    assert all(line.isprintable() and len(line) < 1000 for line in lines)


def test_the_numbers_of_a_pass() -> None:
    counted = {"verdict": "passed", "culled": 2, "users_deleted": 1, "kept": 4, "failed": 0, "seconds": 1.5}
    assert numbers(ANSWER, False) == {**counted, "summary": "2 of 6 servers culled"}
    # A pass that would cull too much lists what it would cull.
    refused = numbers({**ANSWER, "changed": False, "failed": True}, False)
    assert (refused["verdict"], refused["culled"], refused["users_deleted"]) == ("failed", 0, 0)
    assert numbers({**ANSWER, "changed": False}, True)["culled"] == 2


def test_a_pass_that_failed_early_is_no_pass() -> None:
    none = {"culled": 0, "users_deleted": 0, "kept": 0, "failed": 0, "seconds": 0}
    assert numbers({"failed": True, "msg": "no token"}, False) == {"verdict": "failed", "summary": "no token", **none}
    assert numbers({"failed": True}, False)["summary"] == "It failed without a message."
