# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the options of `hub_verify` into models. Wrong options fail here, before the first request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._hub.connection import parse_duration
from .._hub.errors import Invalid, quoted
from .code import Snippet
from .expect import Expectation
from .notebook import NotebookRun, parse_notebook
from .page import check_page_path
from .probe import Package, Resources, WantedPath, parse_size
from .spec import FAIL, CheckSpec, VerifySpec

Options = Mapping[str, Any]


def parse_hub(options: Options, checks: Sequence[CheckSpec]) -> VerifySpec:
    """Return what to verify, from the validated options of the task and its checks. Raises `Invalid`."""
    return VerifySpec(
        tuple(checks),
        expected_version=options["expected_version"].strip(),
        login_page=options["login_page"],
        tls_min_days=options["tls_min_days"],
        services=tuple(options["services"]),
        token_min_ttl=_parse_optional_duration(options["token_min_ttl"], "token_min_ttl"),
        concurrency=options["concurrency"],
        deadline=_parse_optional_duration(options["deadline"], "deadline"),
        shows_progress=options["show_progress"],
    )


def parse_check(options: Options) -> CheckSpec:
    """Return one check, from its validated options. An option that is None has its default. Raises `Invalid`."""
    timeout = parse_duration(options["timeout"] or "1m", "timeout")
    kernel_name = options["kernel_name"] or ""
    if options["api_token"] is not None and not options["api_token"].strip():
        # Such as an empty file. The task's own token would verify another account in its place.
        raise Invalid("The token of a check is empty.", "Give the token of its account, or leave it out.")
    return CheckSpec(
        name=options["name"] or "",
        api_token=options["api_token"] or "",
        user=options["user"] or "",
        server_name=options["server_name"] or "",
        user_options=options["user_options"],
        options_format=options["options_format"] or "auto",
        wait_timeout=parse_duration(options["wait_timeout"] or "5m", "wait_timeout"),
        warn_after=_parse_optional_duration(options["warn_after"], "warn_after"),
        if_running=options["if_running"] or FAIL,
        keep_running=bool(options["keep_running"]),
        timeout=timeout,
        kernel_name=kernel_name,
        pages=tuple(check_page_path(path) for path in options["page"] or ()),
        snippets=tuple(_parse_snippet(item, timeout, kernel_name) for item in options["code"] or ()),
        notebooks=tuple(_parse_notebook_run(item, timeout) for item in options["notebooks"] or ()),
        packages=tuple(Package.parse(text) for text in options["packages"] or ()),
        paths=tuple(WantedPath(item["path"], item["writable"]) for item in options["paths"] or ()),
        resources=_parse_resources(options["resources"]),
        terminal=bool(options["terminal"]),
        websocket_idle=_parse_websocket_idle(options),
        persist=bool(options["persist"]),
    )


def _parse_snippet(item: Options, timeout: float, kernel_name: str) -> Snippet:
    return Snippet(
        item["code"],
        Expectation.from_options(item["expect"], "expect"),
        _parse_optional_duration(item["timeout"], "timeout") or timeout,
        item["kernel_name"] or kernel_name,
    )


def _parse_notebook_run(item: Options, timeout: float) -> NotebookRun:
    path, content = item["path"], item["content"]
    if content is None:
        raise Invalid(
            f"notebooks: the content of {quoted(path)} was not read.", "Run the task with Ansible, or give the content."
        )
    return NotebookRun(
        parse_notebook(content, path),
        parse_duration(item["timeout"] or "10m", "timeout"),
        _parse_optional_duration(item["cell_timeout"], "cell_timeout") or timeout,
        item["kernel_name"] or "",
    )


def _parse_resources(options: Options | None) -> Resources | None:
    if options is None:
        return None
    wanted: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if not wanted.keys() - {"disk_path"}:
        return None
    sizes: dict[str, Any] = {
        name: parse_size(wanted[name], f"resources.{name}") for name in ("memory", "disk") if name in wanted
    }
    return Resources(**{**wanted, **sizes})


def _parse_websocket_idle(options: Options) -> float | None:
    return parse_duration(options["websocket_idle"] or "30s", "websocket_idle") if options["websocket"] else None


def _parse_optional_duration(value: str | None, option: str) -> float | None:
    return None if value in (None, "") else parse_duration(value, option)
