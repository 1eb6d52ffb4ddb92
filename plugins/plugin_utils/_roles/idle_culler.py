# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role idle_culler decides: what is wrong with its variables, and what a hub must know of a service that
culls, or systemd of a timer.

No secret passes through here.

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
from .service_account import is_true

_NOT_THE_PEER_S = {
    "rules": "It has one limit for everybody",
    "exclude_users": "It spares nobody by name",
    "max_culls": "It culls whatever is idle, however much that is",
}
_SWITCHES = {
    "cull_users": False,
    "cull_admin_users": True,
    "cull_default_servers": True,
    "cull_named_servers": True,
    "remove_named_servers": False,
}
"""Those of hub_cull, which jupyterhub-idle-culler has, too, with the same meaning if nothing is said."""
_CONCURRENCY = 10
"""The same of jupyterhub-idle-culler."""
_FOLDER = "lookup('ansible.builtin.env', 'CREDENTIALS_DIRECTORY')"
"""Where systemd puts files for a service whose user could not read them."""
_FILES = ("ca_path", "client_cert", "client_key")
_PATHS = ("unit_folder", "token_path", "variables_path", "ansible_playbook")
RULE = {
    **dict.fromkeys(
        ("name", "users", "groups", "servers", "admins", "user_options", "properties", "idle_timeout", "max_age")
    ),
    "keep": False,
}
"""All keys of a rule, as hub_cull has them where they are left out."""
_ROLE_NAME = re.compile(r"[a-z][a-z0-9._~-]{1,253}[a-z0-9]")
_UNIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Settings = Mapping[str, Any]
"""The role's variables by their names without ``idle_culler_``; ``policy`` has those that are options of hub_cull, and
``connection`` those that are the other roles', too, by their names without ``hub_``."""


# What is wrong with them


def complaints(settings: Settings) -> list[str]:
    """What is wrong with the variables of this ``mode``, a sentence each and what to do about it.

    Those of a pass are hub_cull's to look at.
    """
    checks = {"managed": _of_the_service, "timer": _of_the_timer}
    if settings["mode"] not in checks:
        return []
    return [*_of_their_kinds(settings)] or [*checks[settings["mode"]](settings)]


def _of_their_kinds(settings: Settings) -> Iterator[str]:
    """What Ansible lets pass, or cannot know: it takes a text for a dictionary, and null for anything."""
    policy = settings["policy"]
    if policy["idle_timeout"] in (None, ""):
        yield "idle_culler_idle_timeout is empty. Give it a time such as 1h, or leave it out for 10m."
    if not isinstance(settings["environment"], Mapping):
        yield "idle_culler_environment is no dictionary. Write it as names with their values."
    rules = policy["rules"]
    if not isinstance(rules, (list, tuple)) or not all(isinstance(rule, Mapping) for rule in rules):
        yield "idle_culler_rules are no list of dictionaries. Write each rule as names with their values."
    for option in ("concurrency", "page_size"):
        if not re.fullmatch(r"[1-9]\d{0,8}", str(policy[option])):
            yield f"idle_culler_{option} is '{policy[option]}'. Give a number of 1 or more."


def _of_the_service(settings: Settings) -> Iterator[str]:
    policy = settings["policy"]
    if not settings["config_path"] and not settings["values_path"]:
        yield "There is nothing to write. Set idle_culler_config_path, idle_culler_values_path, or both."
    for option, why in _NOT_THE_PEER_S.items():
        if policy[option]:
            yield (
                f"jupyterhub-idle-culler, which the hub is to run, knows no {option}. {why}: leave "
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
        off = [f"idle_culler_{switch}" for switch in _of_kinds(policy) if not policy[switch]]
        if off and limits.max_age:
            yield (
                f"jupyterhub-idle-culler culls by age whatever {' and '.join(off)} may say. Leave idle_culler_max_age "
                "out, or choose another idle_culler_mode, where both limits mind it."
            )
    if settings["every"]:
        yield from _of_a_duration("every", settings["every"])
    if not _ROLE_NAME.fullmatch(str(settings["service"])):
        yield (
            f"idle_culler_service is '{settings['service']}', and the hub is to have a role of that name. Give it 3 to "
            "255 of a-z, 0-9 and hyphens, with a letter first."
        )
    if settings["service_url"] and not re.fullmatch(r"https?://[^/\s]+/\S+", settings["service_url"]):
        yield (
            f"idle_culler_service_url is '{settings['service_url']}'. Give the address of the hub's API, such as "
            "http://localhost:8081/hub/api."
        )
    yield from _of_the_environment(settings)


def _of_the_timer(settings: Settings) -> Iterator[str]:
    policy = settings["policy"]
    try:
        limits = _limits(policy)
        rules = [{**RULE, **rule, "keep": is_true(rule.get("keep", False))} for rule in policy["rules"]]
        Policy(limits, [Rule.from_options(number, rule, limits) for number, rule in enumerate(rules, 1)])
        if policy["max_culls"] not in (None, ""):
            MaxCulls.parse(str(policy["max_culls"]))
    except Invalid as error:
        yield f"{error.message} {error.hint}"
    yield from _of_a_duration("stop_timeout", policy["stop_timeout"])
    if settings["connection"]["request_timeout"]:
        yield from _of_a_duration("request_timeout", settings["connection"]["request_timeout"], "hub_")
    if _is_never(policy["idle_timeout"]) and not settings["every"] and not settings["calendar"]:
        yield "Nothing says how often there is a pass. Set idle_culler_every or idle_culler_calendar."
    if settings["every"] and settings["calendar"]:
        yield "idle_culler_every and idle_culler_calendar are both given. Leave one of them out."
    elif settings["every"]:
        yield from _of_a_duration("every", settings["every"])
    elif not str(settings["calendar"]).isprintable():
        yield "idle_culler_calendar has more than one line. Write it as systemd has it, such as Mon..Fri 20:00."
    if not _is_zero(settings["randomized_delay"]):
        yield from _of_a_duration("randomized_delay", settings["randomized_delay"])
    if not _UNIT_NAME.fullmatch(str(settings["unit"])):
        yield (
            f"idle_culler_unit is '{settings['unit']}'. Give the units a name of letters, digits, hyphens, dots and "
            "underscores."
        )
    paths = {f"idle_culler_{name}": settings[name] for name in _PATHS}
    for name, path in {**paths, **{f"hub_{file}": path for file, path in _files(settings).items()}}.items():
        if not re.match(r"/.", str(path)) or not str(path).isprintable():
            yield f"{name} is '{path}'. Give the whole path of a file on this host, with a slash first."
    if re.search(r"""["'\\]""", str(settings["ansible_playbook"])):
        # Not even within quotes of systemd's own.
        yield (
            f"idle_culler_ansible_playbook is '{settings['ansible_playbook']}', and systemd starts no program whose "
            "path has quotes or backslashes. Give it another path."
        )
    try:
        normalize_hub_url(str(settings["connection"]["url"]))
    except Invalid as error:
        yield f"{error.message} {error.hint}"
    yield from _of_the_environment(settings)


def _limits(policy: Mapping[str, Any]) -> Limits:
    return Limits.from_options({**policy, "max_age": policy["max_age"] or "never"}, prefix="idle_culler_")


def _of_kinds(policy: Mapping[str, Any]) -> tuple[str, ...]:
    """The switches that jupyterhub-idle-culler minds for one limit only."""
    kinds = ("cull_default_servers", "cull_named_servers")
    return (*kinds, "cull_admin_users") if policy["cull_users"] else kinds


def _of_a_duration(option: str, value: Any, prefix: str = "idle_culler_") -> Iterator[str]:
    try:
        parse_duration(value, prefix + option)
    except Invalid as error:
        yield f"{error.message} {error.hint}"


def _of_the_environment(settings: Settings) -> Iterator[str]:
    for name, value in settings["environment"].items():
        if not _VARIABLE.fullmatch(str(name)):
            yield f"idle_culler_environment has '{name}'. Give it names of letters, digits and underscores."
        elif not str(value).isprintable():
            yield f"idle_culler_environment has more than one line for '{name}'. Give it one."


# What a hub must know of its service


def service(settings: Settings) -> dict[str, Any]:
    """The Hub-managed service: ``scopes`` for its role, and what its command says after the program's name.

    That is ``arguments``, and those that the chart of Zero to JupyterHub needs besides, ``chart_arguments``.
    """
    policy = settings["policy"]
    # A value is part of its option, and words are parted by hyphens: the peer fails or ignores it otherwise.
    arguments: dict[str, Any] = {"timeout": _whole(policy["idle_timeout"]), "cull-every": every(settings)}
    max_age = _limits(policy).max_age
    if max_age:
        arguments["max-age"] = math.ceil(max_age)
    arguments |= {
        switch.replace("_", "-"): str(policy[switch]).lower()
        for switch, usual in _SWITCHES.items()
        if policy[switch] is not usual
    }
    if int(policy["concurrency"]) != _CONCURRENCY:
        arguments["concurrency"] = int(policy["concurrency"])
    arguments["api-page-size"] = int(policy["page_size"])
    if settings["internal_certs_location"]:
        arguments |= {"ssl-enabled": "true", "internal-certs-location": settings["internal_certs_location"]}
    # With a slash at its end, the peer asks for /hub/api//users, which is no page of the hub.
    url = (settings["service_url"] or "").rstrip("/")
    return {
        "scopes": list(CULL_USERS if policy["cull_users"] else CULL),
        "arguments": _options({**arguments, **({"url": url} if url else {})}),
        "chart_arguments": _options({**arguments, "url": url or _in_the_hub_s_pod(settings["connection"]["url"])}),
    }


def _options(arguments: Mapping[str, Any]) -> list[str]:
    return [f"--{name}={value}" for name, value in arguments.items()]


def _in_the_hub_s_pod(hub_url: str) -> str:
    """The API without the cluster's network between, whose policies may forbid the hub to speak to itself."""
    path = urlsplit(normalize_hub_url(hub_url)).path if hub_url else "/"
    return f"http://localhost:8081{path}hub/api"


# What systemd must know of its timer


def every(settings: Settings) -> int:
    """Seconds from one pass to the next: half of ``idle_timeout``, where nothing is said."""
    # Not 0: the peer dies of it, and systemd would not pause.
    return _whole(settings["every"]) if settings["every"] else max(1, _whole(settings["policy"]["idle_timeout"]) // 2)


def unit(settings: Settings) -> dict[str, Any]:
    """What is in the files of the timer, with everything quoted as it has to be there.

    ``every`` and ``delay`` are in seconds, the former 0 where a calendar is followed. ``credentials`` are the files
    that the service gets to read, by the names that they have for it. ``variables`` are lines of YAML.
    """
    given = {name: value for name, value in settings["connection"].items() if value not in ("", None)}
    files = _files(settings)
    own = {f"idle_culler_{name}": value for name, value in settings["policy"].items() if value not in ("", None)}
    variables = {**own, **{f"hub_{name}": value for name, value in given.items() if name not in files}}
    return {
        "every": 0 if settings["calendar"] else every(settings),
        "delay": 0 if _is_zero(settings["randomized_delay"]) else _whole(settings["randomized_delay"]),
        "calendar": _specified(settings["calendar"]),
        "program": _word(settings["ansible_playbook"]),
        "url": _specified(settings["connection"]["url"]),
        "credentials": {
            "token": _specified(settings["token_path"]),
            "variables.yml": _specified(settings["variables_path"]),
            **{name: _specified(path) for name, path in files.items()},
        },
        "environment": [_specified(_quoted(f"{name}={value}")) for name, value in settings["environment"].items()],
        "variables": [
            "idle_culler_mode: pass",
            f"idle_culler_api_token: \"{{{{ lookup('ansible.builtin.file', {_FOLDER} ~ '/token') }}}}\"",
            *(f"{name}: {_literal(value)}" for name, value in variables.items()),
            *(f'hub_{name}: "{{{{ {_FOLDER} }}}}/{name}"' for name in files),
        ],
    }


def _files(settings: Settings) -> dict[str, Any]:
    return {name: settings["connection"][name] for name in _FILES if settings["connection"][name]}


def _specified(text: Any) -> str:
    """As systemd takes it: a percent sign begins a specifier there."""
    return str(text).replace("%", "%%")


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _word(text: Any) -> str:
    """A word of a command as systemd takes it, where a dollar sign begins a variable, too."""
    plain = str(text)
    return _specified((plain if re.fullmatch(r"[\w./@:+-]+", plain) else _quoted(plain)).replace("$", "$$"))


def _literal(value: Any) -> str:
    """YAML for a value, in which Ansible finds nothing to evaluate."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    # JSON has no way to write one character that YAML would read as one, but for those that need no writing.
    text = "".join(
        sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in json.dumps(value, ensure_ascii=False)
    )
    return f"!unsafe {text}" if isinstance(value, str) and "{" in value else text


def _whole(duration: Any) -> int:
    return max(1, math.ceil(parse_duration(duration, "a duration")))


def _is_never(limit: Any) -> bool:
    return str(limit).strip() == "never"


def _is_zero(duration: Any) -> bool:
    return str(duration).strip() in ("", "0", "0s")
