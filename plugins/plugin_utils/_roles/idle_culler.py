# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role idle_culler: what is wrong with its variables, and what it writes for a hub or for systemd.

It also writes the report of a pass. It never handles a secret.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ...module_utils._cull.policy import Limits, MaxCulls, Policy, Rule
from ...module_utils._hub.connection import normalize_hub_url, parse_duration
from ...module_utils._hub.errors import Invalid
from ...module_utils._hub.scopes import CULL, CULL_USERS
from .checks import configuration_files, given, is_true, one_line

_MISSING_OPTIONS = {
    "rules": "It has one limit for everybody",
    "exclude_users": "It excludes nobody by name",
    "max_culls": "It culls everything that is idle",
}
"""Options of hub_cull that jupyterhub-idle-culler does not have, each with what jupyterhub-idle-culler does instead."""
_SWITCHES = {
    "cull_users": False,
    "cull_admin_users": True,
    "cull_default_servers": True,
    "cull_named_servers": True,
    "remove_named_servers": False,
}
"""The switches of hub_cull, with their defaults. jupyterhub-idle-culler has the same."""
_CONCURRENCY = 10
"""The default of jupyterhub-idle-culler."""
_FOLDER = "lookup('ansible.builtin.env', 'CREDENTIALS_DIRECTORY')"
"""Where systemd puts files for a service whose user cannot read them."""
_FILES = ("ca_path", "client_cert", "client_key")
_PATHS = ("unit_folder", "token_path", "variables_path", "ansible_playbook")
RULE = {
    **dict.fromkeys(
        ("name", "users", "groups", "servers", "admins", "user_options", "properties", "idle_timeout", "max_age")
    ),
    "keep": False,
}
"""All keys of a rule, with the defaults of hub_cull."""
_ROLE_NAME = re.compile(r"[a-z][a-z0-9._~-]{1,253}[a-z0-9]")
_UNIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Settings = Mapping[str, Any]
"""The role's variables by their names without ``idle_culler_``. Also, ``policy`` has the options of hub_cull,
``connection`` has the connection options, which are empty if the user does not set them, and ``url`` is the hub's
address."""


# What is wrong with the variables


def complaints(settings: Settings) -> list[str]:
    """Return what is wrong with the variables of this ``mode``, a sentence for each, with what to do next.

    This does not check the mode ``pass``, whose variables are options of hub_cull. The module checks them.
    """
    checks = {"managed": _check_service, "timer": _check_timer}
    if settings["mode"] not in checks:
        return []
    return [*_check_types(settings)] or [*checks[settings["mode"]](settings)]


def _check_types(settings: Settings) -> Iterator[str]:
    """Yield a complaint for each value of a wrong type that Ansible's argument specification accepts.

    The specification accepts text for a dictionary, and null for any type.
    """
    policy = settings["policy"]
    if policy["idle_timeout"] in (None, ""):
        yield "idle_culler_idle_timeout is empty. Give it a time such as 1h, or leave it out for 10m."
    if not isinstance(settings["environment"], Mapping):
        yield "idle_culler_environment is not a dictionary. Write it as names with their values."
    rules = policy["rules"]
    if not isinstance(rules, (list, tuple)) or not all(isinstance(rule, Mapping) for rule in rules):
        yield "idle_culler_rules is not a list of dictionaries. Write each rule as names with their values."
    for option in ("concurrency", "page_size"):
        if not re.fullmatch(r"[1-9]\d{0,8}", str(policy[option])):
            yield f"idle_culler_{option} is '{policy[option]}'. Give a number of 1 or more."


def _check_service(settings: Settings) -> Iterator[str]:
    policy = settings["policy"]
    if not settings["config_path"] and not settings["values_path"]:
        yield "There is nothing to write. Set idle_culler_config_path, idle_culler_values_path, or both."
    for option, why in _MISSING_OPTIONS.items():
        if policy[option]:
            yield (
                f"jupyterhub-idle-culler, which the hub runs, has no option for {option}. {why}. Leave "
                f"idle_culler_{option} out, or choose another idle_culler_mode."
            )
    if _is_never(policy["idle_timeout"]):
        yield (
            "jupyterhub-idle-culler has no way to say that nothing is idle. Set idle_culler_idle_timeout to a long "
            "time, such as 3650d."
        )
    try:
        limits = _limits(policy)
    except Invalid as error:
        yield f"{error.message} {error.hint}"
    else:
        off = [f"idle_culler_{switch}" for switch in _switches_of_one_limit(policy) if not policy[switch]]
        if off and limits.max_age:
            yield (
                f"jupyterhub-idle-culler ignores {' and '.join(off)} when it culls by age. Leave idle_culler_max_age "
                "out, or choose another idle_culler_mode, where the switches count for both limits."
            )
    if settings["every"]:
        yield from _check_duration("every", settings["every"])
    if not _ROLE_NAME.fullmatch(str(settings["service"])):
        yield (
            f"idle_culler_service is '{settings['service']}', and the hub gets a role of that name. Give it 3 to 255 "
            "of a-z, 0-9 and hyphens, with a letter first."
        )
    if settings["service_url"] and not re.fullmatch(r"https?://[^/\s]+/\S+", settings["service_url"]):
        yield (
            f"idle_culler_service_url is '{settings['service_url']}'. Give the address of the hub's API, such as "
            "http://localhost:8081/hub/api."
        )
    yield from _check_environment(settings)


def _check_timer(settings: Settings) -> Iterator[str]:
    policy = settings["policy"]
    try:
        limits = _limits(policy)
        rules = [{**RULE, **rule, "keep": is_true(rule.get("keep", False))} for rule in policy["rules"]]
        Policy(limits, [Rule.from_options(number, rule, limits) for number, rule in enumerate(rules, 1)])
        if policy["max_culls"] not in (None, ""):
            MaxCulls.parse(str(policy["max_culls"]))
    except Invalid as error:
        yield f"{error.message} {error.hint}"
    yield from _check_duration("stop_timeout", policy["stop_timeout"])
    if settings["connection"]["request_timeout"]:
        yield from _check_duration("request_timeout", settings["connection"]["request_timeout"], "hub_")
    if _is_never(policy["idle_timeout"]) and not settings["every"] and not settings["calendar"]:
        yield "No variable says how often to cull. Set idle_culler_every or idle_culler_calendar."
    if settings["every"] and settings["calendar"]:
        yield "idle_culler_every and idle_culler_calendar are both given. Leave one of them out."
    elif settings["every"]:
        yield from _check_duration("every", settings["every"])
    elif not str(settings["calendar"]).isprintable():
        yield "idle_culler_calendar has more than one line. Write it as systemd does, such as Mon..Fri 20:00."
    if not _is_zero(settings["randomized_delay"]):
        yield from _check_duration("randomized_delay", settings["randomized_delay"])
    if not _UNIT_NAME.fullmatch(str(settings["unit"])):
        yield (
            f"idle_culler_unit is '{settings['unit']}'. Give the units a name of letters, digits, hyphens, dots and "
            "underscores."
        )
    paths = {f"idle_culler_{name}": settings[name] for name in _PATHS}
    for name, path in {**paths, **{f"hub_{file}": path for file, path in _connection_files(settings).items()}}.items():
        if not re.match(r"/.", str(path)) or not str(path).isprintable():
            yield f"{name} is '{path}'. Give the whole path of a file on this host, with a slash first."
    if re.search(r"""["'\\]""", str(settings["ansible_playbook"])):
        # systemd does not start such a program even if its path is quoted.
        yield (
            f"idle_culler_ansible_playbook is '{settings['ansible_playbook']}', and systemd starts no program whose "
            "path has quotes or backslashes. Give it another path."
        )
    try:
        normalize_hub_url(str(settings["url"]))
    except Invalid as error:
        yield f"{error.message} {error.hint}"
    yield from _check_environment(settings)


def _limits(policy: Mapping[str, Any]) -> Limits:
    return Limits.from_options({**policy, "max_age": policy["max_age"] or "never"}, prefix="idle_culler_")


def _switches_of_one_limit(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the switches that jupyterhub-idle-culler applies to idle_timeout and not to max_age."""
    kinds = ("cull_default_servers", "cull_named_servers")
    return (*kinds, "cull_admin_users") if policy["cull_users"] else kinds


def _check_duration(option: str, value: Any, prefix: str = "idle_culler_") -> Iterator[str]:
    try:
        parse_duration(value, prefix + option)
    except Invalid as error:
        yield f"{error.message} {error.hint}"


def _check_environment(settings: Settings) -> Iterator[str]:
    for name, value in settings["environment"].items():
        if not _VARIABLE.fullmatch(str(name)):
            yield f"idle_culler_environment has '{name}'. Give it names of letters, digits and underscores."
        elif not str(value).isprintable():
            yield f"idle_culler_environment has more than one line for '{name}'. Give it one."


# The service of a hub


def service(settings: Settings) -> dict[str, Any]:
    """Return the Hub-managed service: its role's ``scopes``, and the ``arguments`` of jupyterhub-idle-culler.

    ``chart_arguments`` are the arguments for the chart of Zero to JupyterHub, which also needs the hub's address.
    """
    policy = settings["policy"]
    # Each argument is --name=value, with hyphens in the name. jupyterhub-idle-culler fails with other forms, or ignores
    # them.
    idle_timeout = _parse_whole_seconds(policy["idle_timeout"])
    arguments: dict[str, Any] = {"timeout": idle_timeout, "cull-every": pass_interval(settings)}
    max_age = _limits(policy).max_age
    if max_age:
        arguments["max-age"] = math.ceil(max_age)
    arguments |= {
        switch.replace("_", "-"): str(policy[switch]).lower()
        for switch, default in _SWITCHES.items()
        if policy[switch] is not default
    }
    if int(policy["concurrency"]) != _CONCURRENCY:
        arguments["concurrency"] = int(policy["concurrency"])
    arguments["api-page-size"] = int(policy["page_size"])
    if settings["internal_certs_location"]:
        arguments |= {"ssl-enabled": "true", "internal-certs-location": settings["internal_certs_location"]}
    # With a slash at the end of the address, jupyterhub-idle-culler would request /hub/api//users, which no hub has.
    url = (settings["service_url"] or "").rstrip("/")
    return {
        "scopes": list(CULL_USERS if policy["cull_users"] else CULL),
        "arguments": _options({**arguments, **({"url": url} if url else {})}),
        "chart_arguments": _options({**arguments, "url": url or _url_in_pod(settings["url"])}),
    }


def _options(arguments: Mapping[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in arguments.items()]


def _url_in_pod(hub_url: str) -> str:
    """Return the address of the API at localhost.

    The network policies of the cluster may forbid the hub to connect to itself by another address.
    """
    path = urlsplit(normalize_hub_url(hub_url)).path if hub_url else "/"
    return f"http://localhost:8081{path}hub/api"


def files(settings: Settings) -> list[dict[str, str]]:
    """Return the files of the service to write, with the next step for each."""
    return configuration_files("idle_culler.py.j2", settings, "Until then the hub culls as it did before.")


# The timer of systemd


def pass_interval(settings: Settings) -> int:
    """Return the seconds from one pass to the next: half of ``idle_timeout`` if ``every`` is empty."""
    # The interval is never 0. With 0, jupyterhub-idle-culler crashes, and systemd does not pause.
    if settings["every"]:
        return _parse_whole_seconds(settings["every"])
    return max(1, _parse_whole_seconds(settings["policy"]["idle_timeout"]) // 2)


def unit(settings: Settings) -> dict[str, Any]:
    """Return what the templates of the timer write, quoted for systemd.

    ``every`` and ``delay`` are in seconds. ``every`` is 0 if there is a calendar. ``credentials`` are the files that
    the service may read, by their names for the service. ``variables`` are lines of YAML.
    """
    files = _connection_files(settings)
    options = {name: value for name, value in settings["connection"].items() if name not in (*files, "hub_url")}
    variables = {
        **{f"idle_culler_{name}": value for name, value in given(settings["policy"]).items()},
        **{f"hub_{name}": value for name, value in given({"url": settings["url"], **options}).items()},
    }
    return {
        "every": 0 if settings["calendar"] else pass_interval(settings),
        "delay": 0 if _is_zero(settings["randomized_delay"]) else _parse_whole_seconds(settings["randomized_delay"]),
        "calendar": _escape_specifiers(settings["calendar"]),
        "program": _command_word(settings["ansible_playbook"]),
        "url": _escape_specifiers(settings["url"]),
        "credentials": {
            "token": _escape_specifiers(settings["token_path"]),
            "variables.yml": _escape_specifiers(settings["variables_path"]),
            **{name: _escape_specifiers(path) for name, path in files.items()},
        },
        "environment": [
            _escape_specifiers(_quote(f"{name}={value}")) for name, value in settings["environment"].items()
        ],
        "variables": [
            "idle_culler_mode: pass",
            f"idle_culler_api_token: \"{{{{ lookup('ansible.builtin.file', {_FOLDER} ~ '/token') }}}}\"",
            *(f"{name}: {_literal(value)}" for name, value in variables.items()),
            *(f'hub_{name}: "{{{{ {_FOLDER} }}}}/{name}"' for name in files),
        ],
    }


def _connection_files(settings: Settings) -> dict[str, Any]:
    return {name: settings["connection"][name] for name in _FILES if settings["connection"][name]}


def _escape_specifiers(text: Any) -> str:
    """Return the text with each percent sign doubled. In systemd, a percent sign begins a specifier."""
    return str(text).replace("%", "%%")


def _quote(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _command_word(text: Any) -> str:
    """Return the text as one word of a command for systemd, where a dollar sign begins a variable."""
    plain = str(text)
    return _escape_specifiers((plain if re.fullmatch(r"[\w./@:+-]+", plain) else _quote(plain)).replace("$", "$$"))


def _literal(value: Any) -> str:
    """Return the value as YAML. Ansible does not treat any part of it as a template."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    # JSON escapes a character above U+FFFF as two units of UTF-16, which YAML does not join.
    text = "".join(
        sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in json.dumps(value, ensure_ascii=False)
    )
    return f"!unsafe {text}" if isinstance(value, str) and "{" in value else text


def _parse_whole_seconds(duration: Any) -> int:
    return max(1, math.ceil(parse_duration(duration, "a duration")))


def _is_never(limit: Any) -> bool:
    return str(limit).strip() == "never"


def _is_zero(duration: Any) -> bool:
    return str(duration).strip() in ("", "0", "0s")


def host_complaints(
    settings: Settings, calendar: Mapping[str, Any], token_file: Mapping[str, Any], is_check_mode: Any
) -> list[str]:
    """Return what is wrong on the host of the timer, a sentence for each, with what to do next.

    ``calendar`` is the result of ``systemd-analyze calendar``. ``token_file`` is what the module stat returns for the
    token's file. In check mode the file may be missing, because an earlier task would have written it.
    """
    found = []
    # If systemd-analyze is missing, the return code is another one, and nothing is known about the calendar.
    if calendar.get("rc") == 1:
        found.append(
            f"idle_culler_calendar is '{settings['calendar']}', which systemd does not understand: "
            f"{calendar['stderr'].strip()}. Write it as OnCalendar= takes it, such as Mon..Fri 20:00 "
            "(man systemd.time)."
        )
    path, advice = settings["token_path"], "Let the role service_account keep it there, or create it with mode 0600."
    if not token_file["exists"]:
        if not is_true(is_check_mode):
            found.append(f"There is no file {path}, which must hold the token. {advice}")
    elif token_file["mode"][-1] != "0":
        found.append(f"Everybody on this host can read {path}, which must hold the token. {advice}")
    return found


# The report of a pass

_DONE = {"stop": "stopped", "remove": "stopped and removed", "delete": "deleted"}


def numbers(result: Mapping[str, Any], is_check_mode: Any) -> dict[str, Any]:
    """Return the numbers of a pass for workflows and notifications, from the result of hub_cull."""
    # A pass that would cull too much lists what it would cull, but culls nothing.
    culled = result if result.get("changed") or is_true(is_check_mode) else {}
    return {
        "verdict": "failed" if result.get("failed") else "passed",
        "summary": result.get("summary") or result.get("msg") or "It failed without a message.",
        "culled": len(culled.get("culled", [])),
        "users_deleted": len(culled.get("users_deleted", [])),
        "kept": sum(result.get("kept_count", {}).values()),
        "failed": len(result.get("failures", [])),
        "seconds": result.get("seconds", 0),
    }


def summary(result: Mapping[str, Any], is_check_mode: Any, is_diff_mode: Any) -> list[str]:
    """Return the lines that a person reads after a pass, from a result of hub_cull that has a ``summary``."""
    is_changed = bool(result.get("changed"))
    lines: list[str] = []
    if is_true(is_check_mode) and "diff" in result:
        # With --diff, Ansible has already shown the difference.
        if not (is_true(is_diff_mode) and is_changed):
            lines += str(result["diff"].get("prepared") or "").splitlines()
    else:
        before = "" if is_changed else "not "
        lines += [f"{before}{_DONE[each['verb']]}: {each['object']}, {each['why']}" for each in result["actions"]]
    for failure in result["failures"]:
        lines.append(f"failed: {_object(failure)}: {failure['failure']['message']}")
    for noun, counts in (("servers", result["kept_count"]), ("users", result["users_kept_count"])):
        kept = ", ".join(f"{number} {reason}" for reason, number in counts.items() if number)
        lines += [f"{noun} kept: {kept}"] if kept else []
    return [*lines, result["summary"]]


def _object(failure: Mapping[str, Any]) -> str:
    server, user = failure["server_name"], one_line(failure["user"])
    if server is None:
        return f"user '{user}'"
    return f"server '{one_line(server)}' of '{user}'" if server else f"default server of '{user}'"
