# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is idle: a policy, and what it says of a server or of a user as the hub shows them. Pure decisions.

The rules are those of jupyterhub-idle-culler 2.0.0 (``handle_server`` and ``handle_user`` in its ``__init__.py``), but
for what the notes of `hub_cull` list.

"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from .._hub.connection import parse_duration
from .._hub.errors import Invalid, MissingScope, printable
from .._hub.models import Model
from .._hub.times import format_duration, parse_time

KEPT = (
    "active", "pending", "not_ready", "excluded", "rule", "switched_off", "admin", "own", "unknown", "has_servers",
    "used", "gone", "hidden",
)  # fmt: skip
"""Why something stays, in one word: what the keys of ``kept_count`` are."""

_CRITERIA = ("users", "groups", "servers", "admins", "user_options", "properties")
_READS = {
    "groups": "read:users:groups",
    "roles": "read:roles:users",
    "auth_state": "admin:auth_state",
    "last_activity": "read:users:activity",
}
"""The least scope that shows a property of a user; all others are shown by ``read:users``."""


@dataclass(frozen=True)
class Limits:
    """From when on something is to go, in seconds. None is never."""

    idle_timeout: float | None
    max_age: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any], default: Limits | None = None, where: str = "") -> Limits:
        """What ``idle_timeout`` and ``max_age`` say, and the ``default`` where one is None. Raises `Invalid`."""

        def limit(option: str, *never: str) -> float | None:
            value = options[option]
            if value is None:
                return getattr(default, option, None)
            return None if str(value).strip() in ("never", *never) else parse_duration(value, where + option)

        # 0 is what jupyterhub-idle-culler has for no age; its timeout of 0 culls everything.
        return cls(limit("idle_timeout"), limit("max_age", "0"))


@dataclass(frozen=True)
class Share:
    """A number of things, or a percentage of all there are."""

    text: str
    number: float
    percent: bool

    @classmethod
    def of(cls, text: str) -> Share:
        """Raises `Invalid` for what is neither ``20`` nor ``20%``."""
        digits, percent = text.strip().removesuffix("%").strip(), text.strip().endswith("%")
        number = float(digits) if digits.isascii() and digits.replace(".", "", int(percent)).isdigit() else -1.0
        if number < 0 or (percent and number > 100):
            raise Invalid(
                f"max_culls: '{text}' is neither a number nor a percentage.", "Write one like 20, or one like 20%."
            )
        return cls(text.strip(), number, percent)

    def allows(self, number: int, total: int) -> bool:
        return number <= (total * self.number / 100 if self.percent else self.number)


@dataclass(frozen=True)
class Rule:
    """Its limits, or that it keeps, for those that match all that it names. Of a list one must match; None matches all.

    What names a server by its name or its options says nothing of a user.
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

    @classmethod
    def of(cls, number: int, item: Mapping[str, Any], default: Limits) -> Rule:
        """The rule as a task declares it, which is its ``number``-th. Raises `Invalid` for what cannot be meant."""
        name = item["name"] or str(number)
        limited = any(item[option] is not None for option in ("idle_timeout", "max_age"))
        if item["keep"] and limited:
            raise Invalid(f"Rule {name} has a limit, and keeps whatever it matches.", "Leave one of them out.")
        if not item["keep"] and not limited:
            raise Invalid(f"Rule {name} says nothing.", "Give it idle_timeout, max_age, or keep: true.")
        for criterion in _CRITERIA:
            if item[criterion] in ([], {}):
                raise Invalid(f"Rule {name} matches nothing, for its {criterion} are empty.", "Fill or leave them out.")
            members = item[criterion] if isinstance(item[criterion], Mapping) else {}
            for member in (member for member, wanted in members.items() if wanted == []):
                raise Invalid(
                    f"Rule {name} matches nothing, for '{member}' of its {criterion} is an empty list.",
                    "Fill it or leave it out.",
                )
        limits = Limits.of(item, default, f"rule {name}, ")
        return cls(name, limits, item["keep"], **{criterion: item[criterion] for criterion in _CRITERIA})

    @property
    def criteria(self) -> Sequence[Any]:
        """All that it names; nothing where it matches everything."""
        named = [(criterion, getattr(self, criterion)) for criterion in _CRITERIA]
        return [
            (criterion, wanted)
            for criterion, wanted in named
            if wanted is not None and not (criterion == "users" and "*" in wanted)
        ]

    def matches(self, user: Model, server_name: str | None, server: Model) -> bool:
        """Raises `MissingScope` where it asks for what the token may not read. ``server_name`` is None for a user."""
        if self.users is not None and not _globbed(user["name"], self.users):
            return False
        if server_name is None and not (self.servers is None and self.user_options is None):
            return False
        if self.servers is not None and not _globbed(str(server_name), self.servers):
            return False
        if self.admins is not None and self.admins is not bool(self._read(user, "admin")):
            return False
        if self.groups is not None and not any(_globbed(group, self.groups) for group in self._read(user, "groups")):
            return False
        if self.user_options is not None and not _fits(server.get("user_options"), self.user_options):
            return False
        return self.properties is None or all(
            _fits(self._read(user, name), wanted) for name, wanted in self.properties.items()
        )

    def _read(self, user: Model, name: str) -> Any:
        return read(user, name, f"rule {self.name} asks for")


@dataclass(frozen=True)
class Policy:
    """Who and what is culled, and when. ``rules``: the first that matches gives the limits, else they are these."""

    limits: Limits
    rules: Sequence[Rule] = ()
    exclude_users: Sequence[str] = ()
    cull_default_servers: bool = True
    cull_named_servers: bool = True
    cull_admin_users: bool = True

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        for place, rule in enumerate(self.rules):
            if rule.name in names[:place]:
                raise Invalid(f"Two rules have the name '{rule.name}'.", "Give each a name of its own.")
            if not rule.criteria and place + 1 < len(self.rules):
                raise Invalid(
                    f"Rule {rule.name} matches everything, so rule {names[place + 1]} never does.",
                    "Let it be the last, or name users, groups or servers in it.",
                )
            for earlier in self.rules[:place]:
                if rule.criteria == earlier.criteria:
                    raise Invalid(
                        f"Rule {rule.name} matches what rule {earlier.name} matches first, so it never decides.",
                        "Leave one of them out.",
                    )

    @property
    def asks_auth_state(self) -> bool:
        """Whether a rule needs what a list of users does not show (6.1's ``user_model`` in apihandlers/base.py)."""
        return any("auth_state" in (rule.properties or ()) for rule in self.rules)

    def decide_server(self, user: Model, name: str, server: Model, now: float) -> Decision:
        """Raises `MissingScope` where a rule asks for what the token may not read. ``now``: seconds since 1970."""
        age = _since(server.get("started"), now)
        idle = _since(server.get("last_activity"), now)
        judge = _Judge(user["name"], name, age if idle is None else idle, age)
        if server.get("pending"):
            return judge.keeps("pending", f"its {printable(server['pending'])} is pending")
        if not server.get("ready"):
            return judge.keeps("not_ready", "it is not ready")
        if _globbed(user["name"], self.exclude_users):
            return judge.keeps("excluded", "its user is excluded")
        rule = self._rule(user, name, server)
        if not (self.cull_named_servers if name else self.cull_default_servers):
            return judge.keeps("switched_off", f"{'named' if name else 'default'} servers are not culled")
        return judge.apply_limits(rule, self.limits)

    def decide_user(self, user: Model, now: float) -> Decision:
        """As if the user had no servers. Raises `MissingScope` where it takes what the token may not read."""
        age = _since(user.get("created"), now)
        idle = _since(read(user, "last_activity", "culling users takes"), now)
        judge = _Judge(user["name"], None, age if idle is None else idle, age)
        if _globbed(user["name"], self.exclude_users):
            return judge.keeps("excluded", "the user is excluded")
        rule = self._rule(user, None, {})
        if not self.cull_admin_users and read(user, "admin", "cull_admin_users asks for"):
            return judge.keeps("admin", "admins are not culled")
        return judge.apply_limits(rule, self.limits)

    def _rule(self, user: Model, server_name: str | None, server: Model) -> Rule | None:
        return next((rule for rule in self.rules if rule.matches(user, server_name, server)), None)


@dataclass(frozen=True)
class Decision:
    """What becomes of a server, or of a user (``server_name`` None), and why.

    ``idle`` and ``age`` are in seconds, None where the hub does not tell; ``kept`` is one of `KEPT`, empty if it goes.
    """

    user: str
    server_name: str | None
    idle: float | None
    age: float | None
    rule: str | None
    kept: str
    reason: str

    @property
    def goes(self) -> bool:
        return not self.kept

    def as_item(self) -> dict[str, Any]:
        server = {} if self.server_name is None else {"server_name": self.server_name}
        return {
            "user": self.user, **server, "idle_seconds": _whole(self.idle), "age_seconds": _whole(self.age),
            "rule": self.rule, "reason": self.reason,
        }  # fmt: skip


@dataclass(frozen=True)
class _Judge:
    """What is known of one thing, on its way to its fate."""

    user: str
    server_name: str | None
    idle: float | None
    age: float | None

    def keeps(self, kept: str, reason: str, rule: Rule | None = None) -> Decision:
        return Decision(self.user, self.server_name, self.idle, self.age, rule.name if rule else None, kept, reason)

    def apply_limits(self, rule: Rule | None, limits: Limits) -> Decision:
        if rule and rule.keep:
            return self.keeps("rule", f"rule {rule.name} keeps it", rule)
        limits = rule.limits if rule else limits
        of_rule = f", rule {rule.name}" if rule else ""
        idle = _Measure("idle", self.idle, limits.idle_timeout)
        age = _Measure("age", self.age, limits.max_age)
        over = next((measure for measure in (idle, age) if measure.is_over), None)
        if over:
            return self.keeps("", str(over) + of_rule, rule)
        known = [str(measure) for measure in (idle, age) if measure.is_known]
        if known:
            return self.keeps("active", ", ".join(known) + of_rule, rule)
        if limits == Limits(None):
            return self.keeps("active", f"there is no limit{of_rule}", rule)
        return self.keeps("unknown", f"the hub does not tell since when{of_rule}", rule)


@dataclass(frozen=True)
class _Measure:
    word: str
    found: float | None
    limit: float | None

    @property
    def is_known(self) -> bool:
        return self.found is not None and self.limit is not None

    @property
    def is_over(self) -> bool:
        return self.found is not None and self.limit is not None and self.found >= self.limit

    def __str__(self) -> str:
        return f"{self.word} {format_duration(self.found or 0)}, limit {format_duration(self.limit or 0)}"


def read(user: Model, name: str, who: str) -> Any:
    """A property of the user. Raises `MissingScope` where the hub does not show it; ``who`` is whoever needs it."""
    if name not in user:
        raise MissingScope(
            f"The hub does not show the property '{name}' of user '{user['name']}', which {who}.",
            f"Mint the token with {_READS.get(name, 'read:users')}, or correct the name.",
        )
    return user[name]


def _globbed(name: str, patterns: Sequence[str]) -> bool:
    # Ansible parts a text such as "alice, bob" at its commas, and leaves the space.
    return any(fnmatchcase(name, each) for pattern in patterns for each in (pattern, pattern.strip()))


def _fits(found: Any, wanted: Any) -> bool:
    """Whether a value is as it is wanted: of a mapping, each key that is named; of a list, one of them; a glob."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(
            name in found and _fits(found[name], each) for name, each in wanted.items()
        )
    if isinstance(wanted, (list, tuple)):
        return any(_fits(found, each) for each in wanted)
    if isinstance(found, (list, tuple)):
        return any(_fits(each, wanted) for each in found)
    if isinstance(found, Mapping) or found is None or wanted is None:
        return bool(found == wanted)
    # Ansible's templates make texts of numbers and of yes and no.
    return fnmatchcase(_text(found), _text(wanted))


def _text(value: Any) -> str:
    text = str(value)
    return text.lower() if text in ("True", "False") else text


def _since(text: object, now: float) -> float | None:
    then = parse_time(text) if text else None
    return None if then is None else now - then


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, int(seconds))
