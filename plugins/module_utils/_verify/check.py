# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One check: starts a server, proves in it what was asked for, and stops it again."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import wait
from functools import cached_property, partial
from typing import Any, TypeAlias

from .._exec.output import Output
from .._exec.websocket import HAS_WEBSOCKET
from .._hub.client import HubClient
from .._hub.errors import Conflict, HubError, Timeout, Unauthorized, quoted
from .._hub.models import Server
from .._hub.polling import poll_until
from .._hub.threads import in_background
from .._path.plan import Action
from .._server import model as servers
from .._server import stop
from .._server.flow import ServerFlow
from .._server.gate import StartGate
from .._server.model import ServerSpec
from .code import prove_code
from .interruption import LeftOvers
from .kernels import run_code
from .notebook import prove_notebooks
from .page import prove_page
from .persist import Nonce, name_nonce_file, read_nonce, remove_nonce, write_nonce
from .phases import FAILED, SKIPPED, Finding, Phase, Recorder
from .probe import Probe, Resources, prove_packages, prove_paths, prove_resources
from .running_server import RunningServer
from .spec import FAIL, START_PHASE, STOP_FIRST, STOP_PHASE, USE, CheckSpec
from .terminal_proof import prove_terminal
from .websocket_proof import prove_websocket

AFTER_DEADLINE = "Not taken, because the deadline has passed."
_HEAD_START = 0.5
"""Seconds that the file of the phase persist gets to be removed, before an interrupted task stops the server."""
_AFTER_FAILURE = "Not taken, because a phase before it failed."
_IN_CHECK_MODE = "Not taken in check mode."
_SECONDS_AT_DEADLINE = 5.0
"""Seconds for the answer to whether a server has stopped at the deadline."""
_NOT_STARTED = "Not taken, because this check has not started the server."


Outcome: TypeAlias = "tuple[Action, ...] | HubError"
"""What the plan of a check has found: its actions, or why it cannot be taken."""


class CheckRun:
    """One check of a server.

    ``user`` is the server's owner. ``spare_hub`` is the client with the task's own token. ``gate`` is that of all
    starts of the task. ``why_not`` is why the check is not taken at all, if its hub or its account cannot be used.

    `plan` reads the server and says what the check will do. `run` takes the phases. `cancel` ends it early.
    """

    def __init__(
        self, hub: HubClient, spare_hub: HubClient, spec: CheckSpec, gate: StartGate, *, user: str, why_not: str
    ) -> None:
        self.name = spec.name
        """How the result calls it."""
        self.user = user
        self.spec = spec
        self._hub = hub
        self._spare_hub = spare_hub
        self._gate = gate
        self._why_not = why_not
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._present: Server | None = None
        """The server as the plan has found it."""
        self._flow: ServerFlow | None = None
        """The flow that has followed the server's last start."""
        self._has_stopped_first = False
        self._has_run_before = False
        """Whether the server ran before the check, and the check uses it as it is."""
        self._url = ""
        """The server's address. It is empty until the server is ready."""
        self._remove_file: Callable[[], object] | None = None
        """Removes the file of the phase persist, while there may be one."""

    @cached_property
    def _server(self) -> ServerSpec:
        return self.spec.server_of(self.user)

    @property
    def key(self) -> tuple[str, str]:
        """The server that it uses. Two checks of one server cannot run at the same time."""
        return self.user, self.spec.server_name

    @property
    def lock_name(self) -> str:
        """The name of the lock that a check of this server holds on this machine. Empty if the plan read no server."""
        return f"verify {self._present.user_created or self._hub.url} {self.key}" if self._present else ""

    # Planning

    def plan(self) -> Outcome:
        """Read the server, and return the actions of the check. Raises `HubError` if the check cannot be taken."""
        if self._why_not:
            return ()
        self._present = servers.read(self._hub, self._server.user, self._server.name)
        return self._plan(self._present)

    def _plan(self, present: Server) -> tuple[Action, ...]:
        spec, title = self.spec, self._server.title
        runs = present.state != "stopped"
        if runs and spec.if_running == FAIL:
            raise Conflict(
                f"The {title} is {present.state} already, so a start would prove nothing.",
                "If another run uses the account, wait for its end. Otherwise stop the server with hub_server, set "
                "if_running to stop or use, or name a server that nobody uses with server_name.",
            )
        if runs and spec.if_running == USE:
            return (Action("use", title, f"it is {present.state}"),)
        first = [Action("stop", title, f"it is {present.state}")] if runs else []
        last = [] if spec.keep_running else [Action("stop", title, "the check is over")]
        again = [Action("restart", title, "a file must persist")] if spec.persist else []
        return (*first, Action("start", title, "the check needs it"), *again, *last)

    def predict(self, outcome: Outcome, recorder: Recorder) -> dict[str, Any]:
        """Return the check as the result shows it in check mode, in which no phase is taken."""
        if not self._is_refused(outcome, recorder) and not isinstance(outcome, HubError):
            todo = ", then ".join(action.verb for action in outcome)
            recorder.skip(START_PHASE, f"{_IN_CHECK_MODE} It would {todo} the {self._server.title}.")
            _skip(recorder, *self.spec.proofs, STOP_PHASE, why=_IN_CHECK_MODE)
        return self.describe(recorder)

    def _is_refused(self, outcome: Outcome, recorder: Recorder) -> bool:
        """Return whether the check cannot be taken, and record why."""
        if self._why_not:
            _skip(recorder, START_PHASE, *self.spec.proofs, STOP_PHASE, why=self._why_not)
        elif isinstance(outcome, HubError):
            recorder.fail(START_PHASE, outcome)
            _skip(recorder, *self.spec.proofs, why=_AFTER_FAILURE)
            recorder.skip(STOP_PHASE, _NOT_STARTED)
        else:
            return False
        return True

    # Running

    def run(self, outcome: Outcome, recorder: Recorder, left_overs: LeftOvers, *, is_alone: bool) -> None:
        """Take all phases. ``is_alone`` says whether no other run on this machine checks the server.

        Raises nothing: a failure is a part of its phase.
        """
        if not is_alone and not isinstance(outcome, HubError):
            outcome = Conflict(
                f"Another task on this machine is verifying the server of {quoted(self.user)} at the moment.",
                "Let no two runs use the same server at the same time. Run this again when the other one has ended.",
            )
        if self._is_refused(outcome, recorder):
            return
        try:
            with left_overs.hold(self.cancel):
                self._take_phases(recorder, left_overs)
        except HubError as error:
            recorder.fail(START_PHASE, error)

    def _take_phases(self, recorder: Recorder, left_overs: LeftOvers) -> None:
        if recorder.take(START_PHASE, self._start):
            self._take_proofs(recorder, left_overs)
        else:
            _skip(recorder, *self.spec.proofs, why=_AFTER_FAILURE)
        if self.has_started or self._has_run_before:
            recorder.take(STOP_PHASE, self._stop)
        else:
            recorder.skip(STOP_PHASE, _NOT_STARTED)

    def cancel(self) -> None:
        """Stop the server if the check has started it, and start nothing more. Other threads may call this."""
        with self._lock:
            self._is_cancelled = True
        remove_file = self._remove_file
        if remove_file is not None:
            # Only a running server can remove it.
            wait([in_background(remove_file)], _HEAD_START)
        if self._flow is not None:
            self._flow.cancel(self.spec.wait_timeout)

    def end(self, recorder: Recorder, error: HubError) -> Recorder:
        """End the check at the deadline, after `cancel`. Return a recorder with all phases.

        The phase that is being taken has failed by the ``error``. Nothing is done if the check is over.
        """
        other = recorder.close((START_PHASE, *self.spec.proofs), error, AFTER_DEADLINE)
        if any(phase.name == STOP_PHASE for phase in other.phases):
            return other
        if self.has_started or self._has_run_before:
            other.take(STOP_PHASE, self._check_stopped)
        else:
            other.skip(STOP_PHASE, _NOT_STARTED)
        return other

    @property
    def has_started(self) -> bool:
        """Whether the check has started the server."""
        return self._flow is not None and self._flow.has_started

    @property
    def _old_start(self) -> str | None:
        """The time of the start that the check has followed, as the hub shows it."""
        server = self._flow.server if self._flow else None
        return server.started if server else None

    @property
    def has_changed(self) -> bool:
        """Whether the check has started or stopped a server."""
        return self.has_started or self._has_stopped_first

    def _take_proofs(self, recorder: Recorder, left_overs: LeftOvers) -> None:
        spec = self.spec
        server = RunningServer(self._hub, self._url, self._server.title, self.user, spec.timeout, left_overs)
        probe = Probe(spec.packages, spec.paths, spec.resources, self._run_in(server))
        proofs: dict[str, Callable[[Finding], None]] = {
            "page": partial(prove_page, server, spec.pages),
            "code": partial(prove_code, server, spec.snippets),
            "notebooks": partial(prove_notebooks, server, spec.notebooks),
            "packages": partial(prove_packages, probe, spec.packages),
            "paths": partial(prove_paths, probe, spec.paths),
            "resources": partial(prove_resources, probe, spec.resources or Resources()),
            "terminal": partial(prove_terminal, server),
            "websocket": partial(prove_websocket, server, spec.websocket_idle or 0.0, kernel_name=spec.kernel_name),
            "persist": partial(self._prove_persistence, server),
        }
        may_go_on = True
        for name in spec.proofs:
            if may_go_on:
                may_go_on = recorder.take(name, proofs[name])
            else:
                recorder.skip(name, _AFTER_FAILURE)

    def _run_in(self, server: RunningServer) -> Callable[[str], Output]:
        """Return a function that runs code in a kernel of the server."""
        return lambda code: run_code(server, code, self.spec.kernel_name, self.spec.timeout)

    # The phase start

    def _start(self, finding: Finding) -> None:
        spec, wanted = self.spec, self._server
        present = servers.read(self._hub, wanted.user, wanted.name)
        self._plan(present)
        if present.state != "stopped" and spec.if_running == STOP_FIRST:
            old_start = stop.find_start(present)
            stopped = stop.stop(self._hub, wanted.user, wanted.name, spec.wait_timeout, old_start)
            if stop.is_newer(stopped, old_start):
                raise self._started_by_others()
            self._has_stopped_first = True
        self._has_run_before = present.state != "stopped" and spec.if_running == USE
        seconds = self._follow_start(finding)
        finding.message = f"The server was ready after {seconds:.1f} s."
        waited = finding.details["waited_for_room"]
        if waited:
            finding.message += f" Before that, it waited {waited:.1f} s until the hub had room for its start."
        if self._has_run_before:
            finding.message = "The server ran before the check, and is used as it is."
        if spec.warn_after is not None and seconds > spec.warn_after:
            finding.warnings.append(f"The start took longer than warn_after, which is {spec.warn_after:g} s.")

    def _follow_start(self, finding: Finding) -> float:
        """Start the server and wait until it answers. Return how many seconds the start took. Raises `HubError`.

        The time for which the start has waited until the hub had room for it does not count.
        """
        start_time = time.monotonic()
        flow = ServerFlow(self._hub, self._server, partial(servers.read_all, self._hub), self._gate, None)
        with self._lock:
            if self._is_cancelled:
                raise Conflict("The task was interrupted.", "Run it again.")
            self._flow = flow
        finding.details |= {"url": None, "events": [], "user_options": None, "waited_for_room": 0.0}
        try:
            result = flow.apply(flow.plan())
        except HubError as error:
            finding.details |= {key: error.result[key] for key in finding.details if key in error.result}
            raise
        finally:
            finding.details["waited_for_room"] = round(flow.seconds_waited, 3)
        if not result.changed and not self._has_run_before:
            raise self._started_by_others()
        finding.details |= {key: result.answer[key] for key in finding.details if key in result.answer}
        self._has_run_before = self._has_run_before and not result.changed
        self._url = result.answer["url"]
        return time.monotonic() - start_time - flow.seconds_waited

    def _started_by_others(self) -> Conflict:
        return Conflict(
            f"Somebody else started the {self._server.title} at the same time, so this start proves nothing. The "
            "server was left as it is.",
            "Let no two runs use the same account at the same time.",
        )

    # The phase persist

    def _prove_persistence(self, server: RunningServer, finding: Finding) -> None:
        if self._has_run_before:
            raise Conflict(
                f"The {server.title} ran before this check, so it must not be restarted. Only a restart proves that "
                "files persist.",
                "Leave out persist for this check, or set if_running to stop.",
            )
        is_written = threading.Event()

        def remove_file() -> None:
            is_written.wait(_HEAD_START)
            remove_nonce(server, Nonce(name_nonce_file(self.spec.server_name), ""))

        self._remove_file = remove_file
        try:
            try:
                nonce = write_nonce(server, self.spec.server_name)
            finally:
                is_written.set()
            finding.details["path"] = nonce.path
            self._restart_with(server, nonce)
        finally:
            self._remove_file = None
        finding.message = "A file was there again after a restart of the server."

    def _restart_with(self, server: RunningServer, nonce: Nonce) -> None:
        """Restart the server, and prove that the nonce is still there. Remove it in any case."""
        run = self._run_in(server) if HAS_WEBSOCKET else None
        try:
            self._restart()
            read_nonce(server, nonce)
        except HubError:
            with contextlib.suppress(HubError):
                remove_nonce(server, nonce, run)
            raise
        remove_nonce(server, nonce, run)

    def _restart(self) -> None:
        wanted, old_start = self._server, self._old_start
        stopped = stop.stop(self._hub, wanted.user, wanted.name, self.spec.wait_timeout, old_start)
        if stop.is_newer(stopped, old_start):
            raise self._started_by_others()
        self._follow_start(Finding())

    # The phase stop

    def _stop(self, finding: Finding) -> None:
        if self._has_run_before:
            finding.message = "The server was left running, because it ran before the check."
            return
        if self.spec.keep_running and self._url:
            finding.message = "The server was left running, as keep_running says."
            return
        old_start = self._old_start
        try:
            stopped = self._stop_with(self._hub, old_start)
        except Unauthorized:
            # The account's token may have ended while the check ran.
            if self._spare_hub.connection.api_token in ("", self._hub.connection.api_token):
                raise
            stopped = self._stop_with(self._spare_hub, old_start)
        finding.message = "The server was stopped."
        if stop.is_newer(stopped, old_start):
            finding.warnings.append("Somebody else has started it again meanwhile, and it was left running.")

    def _check_stopped(self, finding: Finding) -> None:
        if self._has_run_before:
            finding.message = "The server was left running, because it ran before the check."
            return
        hub = self._hub.with_deadline(time.monotonic() + _SECONDS_AT_DEADLINE)
        present = servers.read(hub, self._server.user, self._server.name)
        if present.state != "stopped":
            raise Timeout(
                f"The {self._server.title} was asked to stop at the deadline, and is {present.state}.",
                "Look whether it ends. Otherwise stop it with hub_server.",
            )
        finding.message = "The server was stopped."
        finding.warnings.append("It was stopped at the deadline.")

    def _stop_with(self, hub: HubClient, old_start: str | None) -> Server:
        user, name = self._server.user, self._server.name
        deadline = time.monotonic() + self.spec.wait_timeout
        # The hub may be away for a moment, for example because it restarts.
        present = poll_until(partial(servers.read, hub.with_deadline(deadline), user, name), deadline)
        if present.state == "stopped":
            return present
        return stop.stop(hub, user, name, max(0.0, deadline - time.monotonic()), old_start)

    # The result

    def describe(self, recorder: Recorder) -> dict[str, Any]:
        """Return the check as the result shows it."""
        phases = recorder.phases
        failed = next((phase for phase in phases if phase.verdict == FAILED), None)
        return {
            "name": self.name,
            "user": self.user,
            "server_name": self.spec.server_name,
            "url": self._url or None,
            "verdict": recorder.verdict,
            "began": phases[0].began if phases else 0.0,
            "seconds": round(phases[-1].began + phases[-1].seconds - phases[0].began, 3) if phases else 0.0,
            "server_left": self._is_server_left(phases[-1] if phases else None),
            "phases": [phase.shown() for phase in phases],
            "failure": failed.failure if failed else None,
        }

    def _is_server_left(self, last: Phase | None) -> bool:
        """Return whether a server that the check has started may still be running, although nobody asked for that."""
        return self.has_started and (last is None or last.name != STOP_PHASE or last.verdict in (FAILED, SKIPPED))


def _skip(recorder: Recorder, *phases: str, why: str) -> None:
    """Record that these phases are not taken. ``why`` is a sentence."""
    for name in phases:
        recorder.skip(name, why)
