# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is idle: a policy, and its decisions on servers and users. Nothing here sends a request.

The rules are those of jupyterhub-idle-culler 2.0.0 (``handle_server`` and ``handle_user`` in its ``__init__.py``),
except for what the notes of `hub_cull` list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .._hub.connection import parse_duration
from .._hub.errors import Conflict, Invalid, MissingScope, printable
from .._hub.models import Server, User
from .._hub.times import format_duration, parse_time, whole_seconds

KEEP_CODES = (
    "active", "pending", "not_ready", "excluded", "rule", "switched_off", "admin", "own", "unknown", "has_servers",
    "used", "gone", "hidden",
)  # fmt: skip
"""The reasons for which something stays, in one word each. They are the keys of the result's ``kept_count``."""

_CRITERIA = ("users", "groups", "servers", "admins", "user_options", "properties")
_SCOPES = {
    "groups": "read:users:groups",
    "roles": "read:roles:users",
    "auth_state": "admin:auth_state",
    "last_activity": "read:users:activity",
}
"""The least scope that shows a property of a user. ``read:users`` shows all others."""


@dataclass(frozen=True)
class Limits:
    """The times after which a server or a user is culled, in seconds. None means that there is no such limit."""

    idle_timeout: float | None
    max_age: float | None = None

    @staticmethod
    def from_options(
        options: Mapping[str, Any], default: Limits | None = None, prefix: str = "", *, may_be_zero: bool = False
    ) -> Limits:
        """Return the limits from the options ``idle_timeout`` and ``max_age``.

        An option that is None gets the limit of ``default``. ``may_be_zero`` says whether an ``idle_timeout`` of 0 is
        allowed. Nothing stays then. Raises `Invalid`, whose message has the ``prefix`` before the option's name.
        """

        def read_limit(option: str, *no_limit: str) -> float | None:
            value = options[option]
            if value is None:
                return getattr(default, option, None)
            if str(value).strip() in ("never", *no_limit):
                return None
            return parse_duration(value, prefix + option, may_be_zero=may_be_zero and option == "idle_timeout")

        # In jupyterhub-idle-culler an age of 0 means no limit, and a timeout of 0 culls everything.
        return Limits(read_limit("idle_timeout"), read_limit("max_age", "0"))


@dataclass(frozen=True)
class MaxCulls:
    """The most that one pass may cull: a number, or a percentage of all servers or users."""

    text: str
    number: float
    is_percentage: bool
    option: str = "max_culls"
    verb: str = "culled"

    @staticmethod
    def parse(text: str, option: str = "max_culls", verb: str = "culled") -> MaxCulls:
        """Return the limit from the text of this option, such as ``20`` or ``20%``. Raises `Invalid`.

        ``verb`` is what happens to the servers. It is also the name of the result that lists them.
        """
        digits, is_percentage = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
        is_number = digits.isascii() and digits.replace(".", "", int(is_percentage)).isdigit()
        number = float(digits) if is_number else -1.0
        if number < 0 or (is_percentage and number > 100):
            raise Invalid(f"{option}: '{text}' is neither a number nor a percentage.", "Write it like 20 or like 20%.")
        return MaxCulls(text.strip(), number, is_percentage, option, verb)

    def allows(self, number: int, total: int) -> bool:
        """Return whether a pass may cull ``number`` of ``total``."""
        return number <= (total * self.number / 100 if self.is_percentage else self.number)

    def find_excess(self, number: int, total: int, noun: str) -> Conflict | None:
        """Return the failure of a task that would cull more than the limit allows, or None."""
        if self.allows(number, total):
            return None
        return Conflict(
            f"{number} of {total} {noun} would be {self.verb}, more than {self.option} ({self.text}) allows. "
            "Nothing has been done.",
            f"Look at the policy, at the clocks and at what {self.verb} says; raise {self.option} if all is right.",
        )


@dataclass(frozen=True)
class Rule:
    """Limits, or ``keep``, for what matches all criteria. A criterion that is None matches everything.

    If a criterion is a list, one of its items must match. A rule with criteria for servers (``servers``,
    ``user_options``) matches no user.
    """

    name: str
    limits: Limits
    keep: bool = False
    users: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    servers: Sequence[str] | None = None
    admins: bool | None = None
    user_options: Mapping[str, Any] | None = None
    properties: Mapping[str, Any] | None = None

    @staticmethod
    def from_options(number: int, options: Mapping[str, Any], default: Limits, *, may_be_zero: bool = False) -> Rule:
        """Return the task's rule at the position ``number``, from 1. Raises `Invalid` for a rule without effect.

        ``default`` are the task's limits. The rule has them where it sets none. For ``may_be_zero`` see `Limits`.
        """
        name = options["name"] or str(number)
        has_limits = any(options[option] is not None for option in ("idle_timeout", "max_age"))
        if options["keep"] and has_limits:
            raise Invalid(
                f"Rule {name} has a limit, but it keeps all that it matches.", "Leave out either its limits or keep."
            )
        if not options["keep"] and not has_limits:
            raise Invalid(f"Rule {name} has neither a limit nor keep.", "Give it idle_timeout, max_age, or keep: true.")
        for criterion in _CRITERIA:
            if options[criterion] in ([], {}):
                raise Invalid(
                    f"Rule {name} matches nothing, because its {criterion} are empty.", "Fill them, or leave them out."
                )
            members = options[criterion] if isinstance(options[criterion], Mapping) else {}
            for member in (member for member, wanted in members.items() if wanted == []):
                raise Invalid(
                    f"Rule {name} matches nothing, because '{member}' of its {criterion} is an empty list.",
                    "Fill it, or leave it out.",
                )
        limits = Limits.from_options(options, default, f"rule {name}, ", may_be_zero=may_be_zero)
        return Rule(name, limits, options["keep"], **{criterion: options[criterion] for criterion in _CRITERIA})

    @property
    def criteria(self) -> Sequence[Any]:
        """The criteria that exclude something, with their names. A rule without any matches everything."""
        named = [(criterion, getattr(self, criterion)) for criterion in _CRITERIA]
        return [
            (criterion, wanted)
            for criterion, wanted in named
            if wanted is not None and not (criterion == "users" and "*" in wanted)
        ]

    def matches(self, user: User, server: Server | None) -> bool:
        """Return whether the rule matches a server of the user, or the user itself if ``server`` is None.

        Raises `MissingScope` if the rule needs a property that the token may not read.
        """
        if self.users is not None and not _matches_glob(user.name, self.users):
            return False
        if server is None and not (self.servers is None and self.user_options is None):
            return False
        if self.servers is not None and not (server and _matches_glob(server.name, self.servers)):
            return False
        if self.admins is not None and self.admins is not bool(self._read(user, "admin")):
            return False
        if self.groups is not None and not any(
            _matches_glob(group, self.groups) for group in self._read(user, "groups")
        ):
            return False
        if self.user_options is not None and not (server and _matches_value(server.user_options, self.user_options)):
            return False
        return self.properties is None or all(
            _matches_value(self._read(user, name), wanted) for name, wanted in self.properties.items()
        )

    def _read(self, user: User, name: str) -> Any:
        return read_property(user, name, f"rule {self.name}")


@dataclass(frozen=True)
class Policy:
    """What to cull, and when.

    The first of the ``rules`` that matches decides about the limits. If none matches, ``limits`` apply.
    """

    limits: Limits
    rules: Sequence[Rule] = ()
    exclude_users: Sequence[str] = ()
    cull_default_servers: bool = True
    cull_named_servers: bool = True
    cull_admin_users: bool = True
    takes_pending: bool = False
    """Whether the limits also apply to a server that is starting, or that the hub checks after its own restart."""

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        for place, rule in enumerate(self.rules):
            if rule.name in names[:place]:
                raise Invalid(f"Two rules have the name '{rule.name}'.", "Give each a name of its own.")
            if not rule.criteria and place + 1 < len(self.rules):
                raise Invalid(
                    f"Rule {rule.name} matches everything, so rule {names[place + 1]} never decides.",
                    f"Make rule {rule.name} the last one, or name users, groups or servers in it.",
                )
            for earlier in self.rules[:place]:
                if rule.criteria == earlier.criteria:
                    raise Invalid(
                        f"Rule {rule.name} matches what rule {earlier.name} matches first, so it never decides.",
                        "Leave one of them out.",
                    )

    @property
    def needs_auth_state(self) -> bool:
        """Whether a rule needs what a list of users does not show (6.1's ``user_model`` in apihandlers/base.py)."""
        return any("auth_state" in (rule.properties or ()) for rule in self.rules)

    def decide_server(self, user: User, server: Server, now: float) -> Decision:
        """Return the decision on a server of the user. ``now`` is in seconds since 1970.

        Raises `MissingScope` if a rule needs a property that the token may not read.
        """
        age = _seconds_since(server.started, now)
        idle = _seconds_since(server.last_activity, now)
        candidate = _Candidate(user.name, server.name, age if idle is None else idle, age)
        if server.pending and (server.pending == "stop" or not self.takes_pending):
            return candidate.keep("pending", f"its {printable(server.pending)} is pending")
        if not server.ready and not server.pending:
            return candidate.keep("not_ready", "it is not ready")
        if _matches_glob(user.name, self.exclude_users):
            return candidate.keep("excluded", "its user is excluded")
        rule = self._find_rule(user, server)
        if not (self.cull_named_servers if server.name else self.cull_default_servers):
            return candidate.keep("switched_off", f"{'named' if server.name else 'default'} servers are not culled")
        return candidate.apply_limits(rule, self.limits)

    def decide_user(self, user: User, now: float) -> Decision:
        """Return the decision on a user, as if the user had no servers. ``now`` is in seconds since 1970.

        Raises `MissingScope` if the decision needs a property that the token may not read.
        """
        age = _seconds_since(user.created, now)
        idle = _seconds_since(read_property(user, "last_activity", "cull_users"), now)
        candidate = _Candidate(user.name, None, age if idle is None else idle, age)
        if _matches_glob(user.name, self.exclude_users):
            return candidate.keep("excluded", "the user is excluded")
        rule = self._find_rule(user, None)
        if not self.cull_admin_users and read_property(user, "admin", "cull_admin_users"):
            return candidate.keep("admin", "admins are not culled")
        return candidate.apply_limits(rule, self.limits)

    def _find_rule(self, user: User, server: Server | None) -> Rule | None:
        return next((rule for rule in self.rules if rule.matches(user, server)), None)


@dataclass(frozen=True)
class Decision:
    """What happens to a server, or to a user (``server_name`` is None), and why.

    ``idle`` and ``age`` are in seconds, or None if the hub does not show them. ``keep_code`` is one of `KEEP_CODES`, or
    empty if the server or the user is to be culled.
    """

    user: str
    server_name: str | None
    idle: float | None
    age: float | None
    rule: str | None
    keep_code: str
    reason: str

    @property
    def has_to_go(self) -> bool:
        """Whether the server or the user is to be culled."""
        return not self.keep_code

    def as_item(self) -> dict[str, Any]:
        """Return the decision as the task's result shows it."""
        server = {} if self.server_name is None else {"server_name": self.server_name}
        return {
            "user": self.user, **server, "idle_seconds": whole_seconds(self.idle),
            "age_seconds": whole_seconds(self.age), "rule": self.rule, "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True)
class _Candidate:
    """A server or a user that is to be decided on. The fields are those of `Decision`."""

    user: str
    server_name: str | None
    idle: float | None
    age: float | None

    def keep(self, keep_code: str, reason: str, rule: Rule | None = None) -> Decision:
        return self._decide(keep_code, reason, rule)

    def apply_limits(self, rule: Rule | None, limits: Limits) -> Decision:
        """Return the decision that the rule makes, or the decision of these limits if there is no rule."""
        if rule and rule.keep:
            return self.keep("rule", f"rule {rule.name} keeps it", rule)
        limits = rule.limits if rule else limits
        suffix = f", rule {rule.name}" if rule else ""
        idle = _Measure("idle", self.idle, limits.idle_timeout)
        age = _Measure("age", self.age, limits.max_age)
        reached = next((measure for measure in (idle, age) if measure.is_reached), None)
        if reached:
            return self._decide("", str(reached) + suffix, rule)
        known = [str(measure) for measure in (idle, age) if measure.is_known]
        if known:
            return self.keep("active", ", ".join(known) + suffix, rule)
        if limits == Limits(None):
            return self.keep("active", f"there is no limit{suffix}", rule)
        return self.keep("unknown", f"the hub does not show the time that a limit needs{suffix}", rule)

    def _decide(self, keep_code: str, reason: str, rule: Rule | None) -> Decision:
        return Decision(
            self.user, self.server_name, self.idle, self.age, rule.name if rule else None, keep_code, reason
        )


@dataclass(frozen=True)
class _Measure:
    """A time and its limit, both in seconds. The time is None if the hub does not show it."""

    name: str
    time: float | None
    limit: float | None

    @property
    def is_known(self) -> bool:
        return self.time is not None and self.limit is not None

    @property
    def is_reached(self) -> bool:
        if self.limit == 0:
            return True  # also if the hub does not show the time, or its clock is ahead
        return self.time is not None and self.limit is not None and self.time >= self.limit

    def __str__(self) -> str:
        if self.limit == 0:
            return "it runs" if self.time is None else f"{self.name} {format_duration(self.time)}"
        return f"{self.name} {format_duration(self.time or 0)}, limit {format_duration(self.limit or 0)}"


def read_property(user: User, name: str, asker: str) -> Any:
    """Return a property of the user. ``name`` is its name in the hub's API.

    ``asker`` is the rule or the option that needs it. Raises `MissingScope` if the hub does not show the property.
    """
    if name not in user.model:
        raise MissingScope(
            f"The hub does not show the property '{name}' of user '{user.name}', which {asker} needs.",
            f"Mint the token with {_SCOPES.get(name, 'read:users')}, or correct the name.",
        )
    return user.model[name]


def _matches_glob(name: str, patterns: Sequence[str]) -> bool:
    """Return whether the name matches one of the patterns."""
    # Ansible splits a text such as "alice, bob" at its commas, and keeps the space.
    return any(fnmatchcase(name, each) for pattern in patterns for each in (pattern, pattern.strip()))


def _matches_value(found: Any, wanted: Any) -> bool:
    """Return whether a value of the hub is the wanted one.

    If ``wanted`` is a mapping, each of its keys must match. If either value is a list, one of its items must match.
    Texts are patterns.
    """
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and _matches_value(found[name], each) for name, each in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return any(_matches_value(found, each) for each in wanted)
    if isinstance(found, (list, tuple)):
        return any(_matches_value(each, wanted) for each in found)
    if isinstance(found, Mapping) or found is None or wanted is None:
        return bool(found == wanted)
    # Ansible's templates turn numbers and booleans into texts.
    return fnmatchcase(_as_text(found), _as_text(wanted))


def _as_text(value: Any) -> str:
    text = str(value)
    return text.lower() if text in ("True", "False") else text


def _seconds_since(stamp: object, now: float) -> float | None:
    """Return the seconds from a time of the hub to ``now``, or None if ``stamp`` is no time."""
    then = parse_time(stamp) if stamp else None
    return None if then is None else now - then
