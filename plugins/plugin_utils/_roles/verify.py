# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decisions of the role verify: which steps it takes, what the answers of the modules mean, and what it reports.

Nothing here reads the clock: the time is a parameter, in seconds since 1970. Ansible-core before 2.19 may pass a number
or a boolean as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from xml.etree import ElementTree

from ...module_utils._hub.errors import printable
from .checks import is_true, one_line

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold, not even as references."""

Step = Mapping[str, Any]
"""An entry of the role's ``verify_steps``."""
Result = Mapping[str, Any]
"""A step's ``name``, ``title``, ``verdict`` (passed, failed or skipped), ``seconds``, ``message``, and the module's
``failure`` or None."""
Finding = dict[str, str]
"""What an answer means: the ``problem`` for which the step fails. If it is empty, a ``message`` for the report."""


# Which steps are taken, and how they end


def is_due(step: Step, results: Sequence[Result], is_start_requested: Any, is_check_mode: Any) -> bool:
    """Return whether to take a step after the steps with these results.

    A step that writes is not taken in check mode. A step that ``requires: start_request`` is taken once the role has
    asked the hub to start the server, even if a step before it failed. Any other step requires that all passed.
    """
    if is_true(is_check_mode) and step.get("writes"):
        return False
    if step["requires"] == "start_request":
        return is_true(is_start_requested)
    return all(result["verdict"] == "passed" for result in results)


def step_result(
    step: Step,
    is_due: Any,
    finding: Mapping[str, str] | None,
    failed_task: Mapping[str, Any] | None,
    began: Any,
    now: Any,
    is_check_mode: Any = False,
) -> dict[str, Any]:
    """Return how a step ended. ``failed_task`` is the result of the task that failed in it, empty if none did.

    A step passes only if it was due, none of its tasks failed, and it has a finding without a problem. ``began`` and
    ``now`` are in seconds since 1970.
    """
    if not is_true(is_due):
        verdict = "skipped"
        message = "Not taken in check mode." if is_true(is_check_mode) else "Not taken, since a step before it failed."
    elif failed_task:
        verdict, message = "failed", failed_task.get("msg") or "It failed without a message."
    elif not finding:
        verdict, message = "failed", "It ended without a finding. Run the role again with -vvv to see where."
    elif finding["problem"]:
        verdict, message = "failed", finding["problem"]
    else:
        verdict, message = "passed", finding["message"]
    return {
        "name": step["name"],
        "title": step["title"],
        "verdict": verdict,
        "seconds": 0.0 if verdict == "skipped" else _seconds(began, now),
        "message": message,
        "failure": (failed_task or {}).get("failure") if verdict == "failed" else None,
    }


# What the answers of the modules mean


def check_hub(answer: Mapping[str, Any], expected_version: Any) -> Finding:
    """Check the answer of hub_info without a token, and return the finding.

    The expected version may be a whole version or the beginning of one. If it is empty, any version is right.
    """
    version, expected = str(answer["hub"]["version"]), str(expected_version)
    shown = printable(version, 300)
    if expected and version != expected and not version.startswith(f"{expected}."):
        return _problem(
            f"The hub runs JupyterHub {shown}, expected was {expected}. Look whether the upgrade went through, or "
            "correct verify_expected_version."
        )
    return _message(f"JupyterHub {shown} at {answer['hub']['url']}")


def check_token(answer: Mapping[str, Any], user: str) -> Finding:
    """Check the answer of hub_info with the token, and return the finding.

    ``user`` is the user whose server is to start. If it is empty, that is the owner of the token.
    """
    token = answer["token"]
    if token is None:
        return _problem("There is no API token. Set verify_api_token, or JUPYTERHUB_API_TOKEN in the environment.")
    if not user and token["kind"] != "user":
        return _problem(
            f"The token belongs to the service {printable(token['name'], 300)}, which has no servers. Set verify_user "
            "to the user whose server is to start."
        )
    owner = printable(f"{token['kind']} {token['name']}", 300)
    if token["expires_at"]:
        return _message(f"{owner}, {printable('valid until ' + token['expires_at'], 300)}")
    return _message(f"{owner}, {'does not expire' if token['expiry_known'] else 'expiry not known'}")


def required_scopes(user: str, server_name: str) -> list[str]:
    """Return the scopes that the token needs to start, use and stop the user's server, and to see that it is gone.

    A hub shows servers as a part of their user, and a filter by server would hide the user. See ``PURPOSES`` in
    service_account.py, which has the scopes that such an account gets.
    """
    server = f"{user}/{server_name}"
    return [
        f"read:servers!user={user}",
        f"start:servers!server={server}",
        f"delete:servers!server={server}",
        f"access:servers!server={server}",
    ]


def check_not_running(answer: Mapping[str, Any]) -> Finding:
    """Check the answer of hub_server in check mode, and return the finding.

    The answer has an action if there is a server to start.
    """
    if not answer["actions"]:
        return _problem(
            f"The server is {answer['servers'][0]['state']} already, so a start would prove nothing. The role left it "
            "alone. Stop it with hub_server, set verify_stop_running, or set verify_server_name to a server that "
            "nobody uses."
        )
    return _message("not running")


def check_started(answer: Mapping[str, Any]) -> Finding:
    """Check the answer of hub_server that was to start the server, and return the finding.

    The task has changed nothing if somebody else started the server first.
    """
    if not answer["changed"]:
        return _problem(
            "Somebody else started the server at the same time, so the start proves nothing. The role left the server "
            "alone. Let no two runs use the same account at the same time."
        )
    return _message(printable(answer["servers"][0]["url"], 300))


def check_output(answer: Mapping[str, Any], expected: Any) -> Finding:
    """Check the answer of hub_exec, and return the finding.

    What the code prints, or its last value, must contain the expected text.
    """
    output = f"{answer['stdout']}{answer['result'] or ''}"
    if str(expected) not in output:
        return _problem(
            f"The output of the code does not contain '{expected}'; it is '{one_line(output)}'. Fix the code or its "
            "surroundings, or correct verify_expect."
        )
    return _message(one_line(output, 100))


def check_stopped(answer: Mapping[str, Any]) -> Finding:
    """Return the finding for the answer of hub_server that was to stop the server."""
    return _message("stopped" if answer["changed"] else "was not running any more")


def check_removed(answer: Mapping[str, Any], server_name: str) -> Finding:
    """Check the answer of hub_info with the user's servers, and return the finding.

    The server must not be among them.
    """
    if server_name in [server["server_name"] for server in answer["servers"]]:
        return _problem(
            "The hub still lists the server after the role stopped it. Look into the hub's log, and stop the server by "
            "hand."
        )
    return _message("the hub says that it does not run")


def _message(message: str) -> Finding:
    return {"problem": "", "message": message}


def _problem(problem: str) -> Finding:
    return {"problem": problem, "message": ""}


# What the report says


def report(
    results: Sequence[Result],
    steps: Sequence[Step],
    facts: Mapping[str, Any],
    given_url: str,
    server_name: str,
    began: Any,
    now: Any,
    is_check_mode: Any = False,
) -> dict[str, Any]:
    """Return the content of ``report.json``.

    ``facts`` are what the steps found out. ``given_url`` is the hub's address as the user set it. ``began`` and ``now``
    are in seconds since 1970.
    """
    is_started = is_true(facts["is_start_requested"])
    return {
        "verdict": _verdict(results, [step["name"] for step in steps], is_true(is_check_mode)),
        # If no hub answered, the address is the user's text, which may contain a password beside the address.
        "hub_url": facts["hub_url"] or ("" if re.search(r"[@?#]", given_url) else given_url),
        "hub_version": facts["version"],
        "user": facts["user"],
        "server_name": server_name,
        "began": datetime.fromtimestamp(float(began), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "seconds": _seconds(began, now),
        # The last step asks the hub whether the server is gone.
        "server_left": is_started and not (results and results[-1]["verdict"] == "passed"),
        "steps": [*results],
    }


def _verdict(results: Sequence[Result], names: Sequence[str], is_check_mode: bool) -> str:
    """Return ``passed`` if each step has a result and each passed.

    Return ``incomplete`` if check mode skipped the steps that write and each other step passed. Return ``failed``
    otherwise.
    """
    verdicts = [result.get("verdict") for result in results]
    if not names or [result.get("name") for result in results] != [*names]:
        return "failed"
    if set(verdicts) == {"passed"}:
        return "passed"
    return "incomplete" if is_check_mode and set(verdicts) == {"passed", "skipped"} else "failed"


def failure_message(report: Mapping[str, Any]) -> str:
    """Return the sentence with which the role fails."""
    hub = printable(report["hub_url"] or "The hub")
    failed = [result for result in report["steps"] if result["verdict"] not in ("passed", "skipped")]
    cause = (
        f"step '{failed[0]['name']}' failed: {printable(failed[0]['message'])}"
        if failed
        else "not all steps were taken. Run the role again with -vvv to see why."
    )
    left = " Its server may still be running: stop it with hub_server." if report["server_left"] else ""
    return f"{hub} is not verified, {cause}{left}"


def summary(report: Mapping[str, Any], path: str) -> list[str]:
    """Return the lines that a person reads at the end. ``path`` is the folder of the report, empty if there is none."""
    hub, url, user = (_or_unknown(report[key]) for key in ("hub_version", "hub_url", "user"))
    lines = [f"JupyterHub {hub} at {url}, user {user}"]
    for step in report["steps"]:
        message = _or_unknown(step["message"], 2000)
        lines.append(f"{step['verdict']:<8} {step['name']:<6} {float(step['seconds']):7.2f} s  {message}")
    if report["server_left"]:
        lines.append("The server may still be running: stop it with hub_server.")
    place = f", report in {path}" if path else ""
    return [*lines, f"{report['verdict'].upper()} in {float(report['seconds']):.1f} s{place}"]


def _or_unknown(value: Any, longest: int = 300) -> str:
    return one_line(value or "(unknown)", longest)


def junit(report: Mapping[str, Any], host: str) -> str:
    """Return the report as JUnit's XML: the hub is a suite, and each step is a case.

    Only a step that passed is shown as passed.
    """
    steps = report["steps"]
    suites = ElementTree.Element("testsuites")
    counted = {
        "tests": len(steps),
        "failures": sum(step["verdict"] not in ("passed", "skipped") for step in steps),
        "errors": 0,
        "skipped": sum(step["verdict"] == "skipped" for step in steps),
    }
    suite = _element(
        suites, "testsuite", name="hubops.jupyterhub.verify", hostname=host, timestamp=report["began"].rstrip("Z"),
        **counted, time=report["seconds"],
    )  # fmt: skip
    properties = _element(suite, "properties")
    for name in ("hub_url", "hub_version", "user", "server_name"):
        _element(properties, "property", name=name, value=report[name])
    for step in steps:
        case = _element(suite, "testcase", classname=report["hub_url"] or host, name=step["name"], time=step["seconds"])
        if step["verdict"] == "passed":
            _element(case, "system-out").text = _xml_text(step["message"])
        elif step["verdict"] == "skipped":
            _element(case, "skipped", message=step["message"])
        else:
            code = (step["failure"] or {}).get("code") or "failed"
            _element(case, "failure", type=code, message=step["message"])
    ElementTree.indent(suites)
    return f"{ElementTree.tostring(suites, encoding='UTF-8').decode()}\n"


def _element(parent: ElementTree.Element, tag: str, /, **attributes: Any) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {name: _xml_text(value) for name, value in attributes.items()})


def _xml_text(value: Any) -> str:
    return _NOT_IN_XML.sub("", str(value))


def _seconds(began: Any, now: Any) -> float:
    return round(float(now) - float(began), 3)
