# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stops or removes a server, and waits until it has stopped, whatever others do to it at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from functools import partial
from typing import Any

from .._hub import polling
from .._hub.client import HubClient
from .._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    NotFound,
    RateLimited,
    Timeout,
    not_covered,
)
from .._hub.models import Server
from .._hub.polling import is_hub_away, poll_until
from .._hub.scopes import STOP
from .._hub.threads import in_background
from .._hub.times import parse_time
from .model import (
    read,
    server_path,
    server_title,
    unlisted_server,
)

CHECKING = "the hub was restarted, and still checks whether the server has survived that"
"""What the hub does with a server that is pending "check"."""
_BEFORE_ALL_STARTS = "1970-01-01T00:00:00Z"
_ANSWER_WAIT = 0.5
"""Seconds. Many hubs answer a request within that time, so the server does not have to be read."""


def stop(hub: HubClient, user: str, name: str, timeout: float, old_start: str | None = None) -> Server:
    """Stop a server or cancel its start, wait until it is stopped, and return it.

    ``old_start`` is the time of the start that is to end, as the hub shows it. If somebody else has stopped the server
    and started it again, the wait ends at that newer start, and this returns the newer server. Raises `Timeout` if the
    server neither stops nor starts again within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    if old_start is not None:
        server = poll_until(partial(read, hub.with_deadline(deadline), user, name), deadline)
        if is_newer(server, old_start):
            return server  # somebody else has just started this one, so it must not be stopped
    send_delete(hub, user, name, deadline, lambda server: _is_stopping(server) or is_newer(server, old_start))
    # Wait after a 204 as after a 202: the hub also answers 204 when it has only begun to stop the server.
    return wait_until_stopped(hub, user, name, timeout, deadline, old_start=old_start)


def find_start(server: Server) -> str:
    """Return the time of the server's start, as the hub shows it, for the ``old_start`` of `stop`.

    A hub has no time for a start before it has called `Authenticator.pre_spawn_start` and the `Spawner.auth_state_hook`
    (`User.spawn` of its user.py). All times that it shows later are newer.
    """
    return server.started or _BEFORE_ALL_STARTS


def is_newer(server: Server, old_start: str | None) -> bool:
    """Return whether the server runs or starts, and its start is later than ``old_start``."""
    start, before = parse_time(server.started), parse_time(old_start)
    return server.state != "stopped" and start is not None and before is not None and start > before


def begin_stop(hub: HubClient, server: Server, timeout: float, *, remove: bool) -> Server:
    """Make the hub begin to stop or to remove a server, and return the server as it is then. Raises `HubError`."""
    deadline = time.monotonic() + timeout
    has_begun = (lambda now: not now.exists) if _is_stopping(server) else _is_stopping
    send_delete(hub, server.user, server.name, deadline, has_begun, remove=remove, is_patient=False)
    return read(hub.with_deadline(deadline), server.user, server.name)


def _is_stopping(server: Server) -> bool:
    """Return whether the server is stopped, or the hub is stopping it."""
    return server.state == "stopped" or server.pending == "stop"


def send_delete(
    hub: HubClient,
    user: str,
    name: str,
    deadline: float,
    has_begun: Callable[[Server], bool],
    *,
    remove: bool = False,
    is_patient: bool = True,
) -> None:
    """Send a server's DELETE. Return when the hub has answered, or when the server that it shows ``has_begun`` to stop.

    If ``is_patient``, wait while the hub cannot stop the server yet, and while the hub is away. Raises `HubError`.
    """
    hub, what = hub.with_deadline(deadline), server_title(user, name)
    body = {"remove": True} if remove else None
    send = partial(hub.write, "DELETE", *server_path(user, name), scope=STOP, what=what, body=body)

    def look() -> Server:
        return read(hub, user, name)

    pause, was_refused, has_failed = polling.PAUSE, False, not is_patient
    while True:
        try:
            # The hub holds its answer for up to 10 s (its slow_stop_timeout). Reading the server shows sooner that it
            # stops.
            _send_and_wait(send, lambda: has_begun(look()), deadline)
            return
        except NotFound:
            # A named server that never existed, or that somebody else has removed. The hub answers the same for one
            # that the token may not stop.
            if not has_begun(look()):
                raise not_covered(STOP, what, user) from None
            return
        except Invalid:
            # JupyterHub 4 cannot cancel a start. It answers 400 until the start is over. The start may be over by now.
            server = look() if is_patient else None
            if server is None or (was_refused and server.state != "pending"):
                raise
            if has_begun(server):
                return
            was_refused = server.state != "pending"
            poll_until(lambda: look().state != "pending", deadline)
            if look().state != "ready":
                return
        except RateLimited as error:
            # Ask again after the time that the hub names. If it names none, ask with growing pauses.
            pause = max(pause, error.retry_after or 0.0)
            if not is_patient or pause > deadline - time.monotonic():
                raise
        except HubError as error:
            if error.method == "GET":
                raise  # reading the server has failed, and the client has waited for the hub already
            if not is_hub_away(error):
                # JupyterHub 5 and 6 answer 500 while they check whether the server has survived a restart of the hub,
                # and to some of several requests that stop a server at the same time. JupyterHub 6 also answers 500 to
                # a request that comes at the end of a start, and the start goes on. So this asks once more.
                server = look() if isinstance(error, HubFailure) else None
                if server is None or (server.pending is None and has_failed and not has_begun(server)):
                    raise
                if has_begun(server):
                    return
                has_failed = True
                if server.pending is not None:
                    _wait_until_settled(look, server, deadline)
            # The hub gave no answer. The server shows whether the request was lost on its way.
            elif has_begun(poll_until(look, deadline if is_patient else 0.0)):
                return
            elif not is_patient or pause > deadline - time.monotonic():
                raise
        time.sleep(pause)
        pause = min(pause * 1.5, polling.LONGEST_PAUSE)


def _wait_until_settled(look: Callable[[], Server], server: Server, deadline: float) -> None:
    """Wait until the hub has finished what is pending. Raises `Timeout` at the ``deadline``."""
    if not poll_until(lambda: look().pending != server.pending, deadline):
        state = CHECKING if server.pending == "check" else f"it is still pending {server.pending}"
        raise Timeout(
            f"The {server_title(server.user, server.name)} could not be stopped in time: {state}.",
            "Check the hub's log, or wait longer with wait_timeout.",
        )


def wait_for_check(hub: HubClient, user: str, name: str, deadline: float) -> None:
    """Wait while the hub checks the server. A hub checks all its servers when it starts."""
    hub = hub.with_deadline(deadline)
    poll_until(lambda: read(hub, user, name).pending != "check", deadline)


def wait_for_answer(answer: Future[Any], has_begun: Callable[[], bool], deadline: float) -> bool:
    """Wait for the answer to a request that changes a server, or until the server shows that the hub ``has_begun``.

    Returns False if neither happens before the ``deadline`` (of `time.monotonic`).
    """
    try:
        answer.exception(timeout=min(_ANSWER_WAIT, max(0.0, deadline - time.monotonic())))
    except NotInTime:
        return poll_until(lambda: answer.done() or has_begun(), deadline)
    return True


def _send_and_wait(send: Callable[[], object], has_begun: Callable[[], bool], deadline: float) -> None:
    """Send a request, and wait as `wait_for_answer` does. Raises the failure that answers it."""
    answer = in_background(send)
    if wait_for_answer(answer, has_begun, deadline) and not answer.done():
        return
    answer.result()


def wait_until_stopped(
    hub: HubClient,
    user: str,
    name: str,
    timeout: float,
    deadline: float | None = None,
    option: str = "wait_timeout",
    old_start: str | None = None,
) -> Server:
    """Wait until the server is stopped, or has a newer start than ``old_start``, and return it.

    ``deadline`` (of `time.monotonic`) is when the ``timeout`` seconds end, if they have begun before this call.
    ``option`` is the name of the option that set them. Raises `Timeout`.
    """

    def look() -> Server | None:
        server = read(hub, user, name)
        return server if server.state == "stopped" or is_newer(server, old_start) else None

    deadline = time.monotonic() + timeout if deadline is None else deadline
    hub = hub.with_deadline(deadline)
    stopped = poll_until(look, deadline)
    if stopped is None:
        raise Timeout(
            f"The {server_title(user, name)} was told to stop and is still there after {timeout:g} s.",
            f"Check the hub's log, or wait longer with {option}.",
        )
    return stopped


def remove(hub: HubClient, user: str, name: str, timeout: float) -> Server:
    """Stop a named server and make the hub forget it. Return the server as one that the hub does not list.

    Raises `Timeout` if that takes longer than ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    hub = hub.with_deadline(deadline)
    if read(hub, user, name).state != "stopped":
        stop(hub, user, name, timeout)
    # Every version removes a stopped server at once.
    send_delete(hub, user, name, deadline, lambda server: not server.exists, remove=True)
    if not poll_until(lambda: not read(hub, user, name).exists, deadline):
        raise Timeout(
            f"The {server_title(user, name)} was removed and is still listed after {timeout:g} s.",
            "Check the hub's log, or wait longer with wait_timeout.",
        )
    return unlisted_server(user, name)
