# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server is stopped or removed, and seen gone, whoever does the same at the same moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as NotInTime
from functools import partial

from .._hub import polling
from .._hub.client import HubClient
from .._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    NotFound,
    RateLimited,
    Timeout,
)
from .._hub.models import Server
from .._hub.polling import is_hub_away, poll_until
from .._hub.scopes import STOP
from .._hub.threads import in_background
from .._hub.times import parse_time
from .model import (
    none_of,
    read,
    server_path,
    server_title,
)

CHECKING = "the hub has been restarted, and still checks whether it has outlived that"
"""What a server is that is pending "check"."""
_QUICK = 0.5
"""Seconds within which many a hub has answered a request, so that no look at the server is needed."""


def stop(hub: HubClient, user: str, name: str, timeout: float, since: str | None = None) -> Server:
    """Stop a server, or cancel its start, see it gone, and return it so.

    With ``since``, the start that is to end, a newer one ends the wait, too, and is what is returned: somebody else has
    stopped the server and started it again. Raises `Timeout` where neither is within ``timeout`` s.
    """
    deadline = time.monotonic() + timeout
    if since is not None:
        now = read(hub.with_deadline(deadline), user, name)
        if is_newer(now, since):
            return now  # to stop that would be to stop what somebody else has just begun
    send_delete(hub, user, name, deadline, lambda found: _stops(found) or is_newer(found, since))
    # Both 204 and 202 are looked after: the hub says 204 of stops that it has only begun, too.
    return wait_until_stopped(hub, user, name, timeout, deadline, since=since)


def is_newer(found: Server, since: str | None) -> bool:
    """Whether the server runs or starts by a later start than that."""
    began, before = parse_time(found.started), parse_time(since)
    return found.state != "stopped" and began is not None and before is not None and began > before


def begin_stop(hub: HubClient, found: Server, timeout: float, *, remove: bool) -> Server:
    """Have the hub begin to stop or to remove a server, and return it as it is then. Raises `HubError`."""
    deadline = time.monotonic() + timeout
    begun = (lambda now: not now.exists) if _stops(found) else _stops
    send_delete(hub, found.user, found.name, deadline, begun, remove=remove, patient=False)
    return read(hub.with_deadline(deadline), found.user, found.name)


def _stops(found: Server) -> bool:
    return found.state == "stopped" or found.pending == "stop"


def send_delete(
    hub: HubClient,
    user: str,
    name: str,
    deadline: float,
    begun: Callable[[Server], bool],
    *,
    remove: bool = False,
    patient: bool = True,
) -> None:
    """Send a server's DELETE, and go on when the hub has answered, or when a look shows that it has ``begun``.

    One who is ``patient`` waits where it cannot be now, or where the hub is away. Raises `HubError`.
    """
    hub, what = hub.with_deadline(deadline), server_title(user, name)
    body = {"remove": True} if remove else None
    ask = partial(hub.write, "DELETE", *server_path(user, name), scope=STOP, what=what, body=body)

    def look() -> Server:
        return read(hub, user, name)

    pause, refused = polling.PAUSE, False
    while True:
        try:
            # The hub holds its answer for as long as its slow_stop_timeout, 10 s: the server tells sooner.
            _answered(ask, lambda: begun(look()), deadline)
            return
        except NotFound:
            return  # a named server that never was, or that went meanwhile
        except Invalid:
            # JupyterHub 4 cannot cancel a start, and says 400 until it is over, one way or the other. By now it may be.
            found = look() if patient else None
            if found is None or (refused and found.state != "pending"):
                raise
            if begun(found):
                return
            refused = found.state != "pending"
            poll_until(lambda: look().state != "pending", deadline)
            if look().state != "ready":
                return
        except RateLimited as error:
            # As soon as it says; where it does not say when, ever more slowly.
            pause = max(pause, error.retry_after or 0.0)
            if not patient or pause > deadline - time.monotonic():
                raise
        except HubError as error:
            # No answer, or the hub has gone with it: the server tells whether the request was lost on its way.
            if error.method == "GET":
                raise  # such a look has been waited for
            if not is_hub_away(error):
                # JupyterHub 5 and 6 answer 500 while they look whether the server has outlived a start of the hub, and
                # to some of those who stop a server together.
                found = look() if isinstance(error, HubFailure) else None
                if found is None or (found.pending is None and not begun(found)):
                    raise
                if begun(found):
                    return
                _settle(look, found, deadline)
            elif begun(poll_until(look, deadline if patient else 0.0)):
                return
            elif not patient or pause > deadline - time.monotonic():
                raise
        time.sleep(pause)
        pause = min(pause * 1.5, polling.LONGEST_PAUSE)


def _settle(look: Callable[[], Server], found: Server, deadline: float) -> None:
    """Wait for the end of what is under way. Raises `Timeout` where the ``deadline`` is first."""
    if not poll_until(lambda: look().pending != found.pending, deadline):
        under_way = CHECKING if found.pending == "check" else f"it is still pending {found.pending}"
        raise Timeout(
            f"The {server_title(found.user, found.name)} could not be stopped in time: {under_way}.",
            "Look into the hub's log, or wait longer with wait_timeout.",
        )


def checked(hub: HubClient, user: str, name: str, deadline: float) -> bool:
    """Wait for the end of the check that a hub makes of its servers when it has been started; whether there was one."""
    hub = hub.with_deadline(deadline)
    if read(hub, user, name).pending != "check":
        return False
    return poll_until(lambda: read(hub, user, name).pending != "check", deadline)


def _answered(ask: Callable[[], object], begun: Callable[[], bool], deadline: float) -> None:
    """Ask in the background, up to the answer or until a look shows that it has ``begun``. Raises what is refused."""
    answer = in_background(ask)
    try:
        answer.exception(timeout=min(_QUICK, max(0.0, deadline - time.monotonic())))
    except NotInTime:
        if poll_until(lambda: answer.done() or begun(), deadline) and not answer.done():
            return
    answer.result()


def wait_until_stopped(
    hub: HubClient,
    user: str,
    name: str,
    timeout: float,
    deadline: float | None = None,
    option: str = "wait_timeout",
    since: str | None = None,
) -> Server:
    """Wait until the server is stopped, or runs by a newer start than ``since``.

    Raises `Timeout` where it is not within ``timeout`` s, which ``option`` gave.

    They are over at the ``deadline`` (of `time.monotonic`), where they have begun earlier.
    """

    def look() -> Server | None:
        found = read(hub, user, name)
        return found if found.state == "stopped" or is_newer(found, since) else None

    deadline = time.monotonic() + timeout if deadline is None else deadline
    hub = hub.with_deadline(deadline)
    gone = poll_until(look, deadline)
    if gone is None:
        raise Timeout(
            f"The {server_title(user, name)} was told to stop and is still there after {timeout:g} s.",
            f"Look into the hub's log, or wait longer with {option}.",
        )
    return gone


def remove(hub: HubClient, user: str, name: str, timeout: float) -> Server:
    """Stop a named server and have the hub forget it. Raises `Timeout` where it has not within ``timeout`` s."""
    deadline = time.monotonic() + timeout
    hub = hub.with_deadline(deadline)
    if read(hub, user, name).state != "stopped":
        stop(hub, user, name, timeout)
    # Of a stopped server, which every version removes at once.
    send_delete(hub, user, name, deadline, lambda found: not found.exists, remove=True)
    if not poll_until(lambda: not read(hub, user, name).exists, deadline):
        raise Timeout(
            f"The {server_title(user, name)} was removed and is still listed after {timeout:g} s.",
            "Look into the hub's log, or wait longer with wait_timeout.",
        )
    return none_of(user, name)
