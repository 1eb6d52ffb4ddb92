# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the tokens of two snapshots, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from .._hub.errors import printable, quoted
from .._hub.scopes import split_scope
from .._hub.times import format_time, parse_time
from .._hub.versions import explain_scopes, find_new_scopes, find_split_scopes
from .difference import CHANGED, LOST, NEW, Difference, Pair, is_same_time

_Tokens = dict[tuple[str, str], dict[str, Any]]
_SHOWN = 8
"""How many scopes or tokens a sentence names."""


def compare_tokens(pair: Pair) -> Iterator[Difference]:
    """Yield tokens that are lost, new, expired, or different. A user who is lost or new covers the tokens.

    The tokens that the hub issues for servers and for OAuth sessions come and go, so they are not compared.
    """
    before, after = (_index_tokens(each.tokens) for each in (pair.before, pair.after))
    if before is None or after is None:
        return
    for key in sorted(before.keys() | after.keys()):
        if pair.covers("users", key[0]):
            continue
        if key not in after:
            yield from _describe_loss(pair, key, before[key])
        elif key not in before:
            if pair.shows_news("tokens"):
                title = _describe(key, after[key])
                yield Difference(NEW, "token", _name(key), f"{title} is new.")
        else:
            yield from _compare_token(key, before[key], after[key])


def _index_tokens(tokens: Iterable[dict[str, Any]] | None) -> _Tokens | None:
    if tokens is None:
        return None
    return {(each["user"], each["id"]): each for each in tokens if not each.get("issued_for")}


def _name(key: tuple[str, str]) -> str:
    return "/".join(key)


def _describe(key: tuple[str, str], token: dict[str, Any]) -> str:
    """Return the token at the beginning of a sentence."""
    return f"Token {quoted(token.get('note') or key[1])} ({printable(key[1], 50)}) of user {quoted(key[0])}"


def _describe_loss(pair: Pair, key: tuple[str, str], token: dict[str, Any]) -> Iterator[Difference]:
    expires, taken = parse_time(token.get("expires_at")), parse_time(pair.after.taken)
    title = _describe(key, token)
    # `taken` is the second in which the hub began to be read. The token may have expired before its turn.
    if expires is not None and taken is not None and expires <= taken + pair.after.seconds + 1:
        message = f"{title} has expired at {format_time(expires)}."
        yield Difference(CHANGED, "token", _name(key), message)
    elif pair.shows_losses("tokens"):
        yield Difference(LOST, "token", _name(key), f"{title} is gone.")


def _compare_token(key: tuple[str, str], before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    """Yield what differs in a token. One that was minted anew under the same id is another token."""
    old, new = before.get("created"), after.get("created")
    if old is not None and new is not None and not is_same_time(old, new):
        message = f"{_describe(key, before)} was revoked, and another one has its id."
        yield Difference(LOST, "token", _name(key), message, "created", old, new)
        return
    for field, what in (("note", "note"), ("expires_at", "expiry")):
        old, new = before.get(field) or None, after.get(field) or None
        if not is_same_time(old, new):
            message = f"{_describe(key, before)}: its {what} was {_show(old)} and is {_show(new)} now."
            yield Difference(CHANGED, "token", _name(key), message, field, old, new)


def _show(value: str | None) -> str:
    return "nothing" if value is None else quoted(value)


def compare_scopes(pair: Pair) -> Iterator[Difference]:
    """Yield what tokens may do no more, or now, and which scopes the hub's version names in another way.

    The scopes are compared by what they mean in the newest version of JupyterHub.
    """
    before, after = (_index_tokens(each.tokens) or {} for each in (pair.before, pair.after))
    kept = [key for key in sorted(before.keys() & after.keys()) if _is_comparable(before[key], after[key])]
    versions = str(pair.before.hub.get("version")), str(pair.after.hub.get("version"))
    yield from _find_split(versions, before, after, kept)
    introduced = find_new_scopes(*versions)
    with_introduced, names = [], set[str]()
    for key in kept:
        old, new = explain_scopes(versions[0], before[key]["scopes"]), explain_scopes(versions[1], after[key]["scopes"])
        gained = new - old
        by_version = {scope for scope in gained if split_scope(scope)[0] in introduced}
        if by_version:
            with_introduced.append(key)
            names |= {split_scope(scope)[0] for scope in by_version}
        yield from _describe_scopes(key, before[key], old - new, gained - by_version)
    if names:
        message = (
            f"JupyterHub {printable(versions[1], 50)} has scopes that JupyterHub {printable(versions[0], 50)} did not "
            f"have ({_join(names)}). {_count(with_introduced)} may do what they allow, because scopes that they hold "
            "include them."
        )
        yield Difference(NEW, "scope", "hub", message, "scopes", [], sorted(names))


def _is_comparable(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether both are the same token, and its scopes are known."""
    times = before.get("created"), after.get("created")
    return (
        before.get("scopes") is not None and after.get("scopes") is not None and (None in times or is_same_time(*times))
    )


def _describe_scopes(
    key: tuple[str, str], token: dict[str, Any], lost: set[str], gained: set[str]
) -> Iterator[Difference]:
    title = _describe(key, token)
    if lost:
        also = f" It may do something new: {_join(gained)}." if gained else ""
        message = f"{title} may do less than before: it has lost {_join(lost)}.{also}"
        yield Difference(LOST, "scope", _name(key), message, "scopes", sorted(lost), sorted(gained))
    elif gained:
        message = f"{title} may do more than before: {_join(gained)}."
        yield Difference(NEW, "scope", _name(key), message, "scopes", [], sorted(gained))


def _find_split(
    versions: tuple[str, str], before: _Tokens, after: _Tokens, kept: list[tuple[str, str]]
) -> Iterator[Difference]:
    """Yield the scopes that mean something else in the version of the second snapshot, if a token holds them."""
    for old_name, new_names, is_split in find_split_scopes(*versions):
        holders = [
            key
            for key in kept
            if any(split_scope(scope)[0] == old_name for scope in (*before[key]["scopes"], *after[key]["scopes"]))
        ]
        if holders:
            joined = " and ".join(f"'{name}'" for name in new_names)
            change = f"splits the scope '{old_name}' into" if is_split else f"has only '{old_name}' in place of"
            message = (
                f"JupyterHub {printable(versions[1], 50)} {change} {joined}. {_count(holders)} may do the same as "
                f"before, because '{old_name}' includes both."
            )
            values = ([old_name], list(new_names)) if is_split else (list(new_names), [old_name])
            yield Difference(CHANGED, "scope", old_name, message, "scopes", *values)


def _count(keys: list[tuple[str, str]]) -> str:
    names = _join(map(_name, keys))
    return f"{len(keys)} token{'s' * (len(keys) != 1)} ({names})"


def _join(names: Iterable[str]) -> str:
    every = sorted(names)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return printable(", ".join(every[:_SHOWN]), 1000) + more
