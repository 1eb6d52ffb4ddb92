# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proves that a server's pages answer with all that they need, so that nobody sees a blank page. Needs no browser."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any
from urllib.parse import unquote, urlsplit

from .._hub.connection import is_address, join_url, scheme_and_port
from .._hub.errors import (
    EDGE,
    HubError,
    HubFailure,
    Invalid,
    NotFound,
    Timeout,
    UnexpectedAnswer,
    is_encodable,
    printable,
    quoted,
)
from .._hub.loading import Loaded, become_stranger, load
from .._hub.responses import describe_request, find_content_type, foreign_host, server_not_running
from .._hub.threads import in_background
from .._path.workers import map_concurrently
from .html_page import MODULE, STYLE, Asset, Page, is_login_path, read_page
from .phases import Finding
from .refusals import explain_forbidden, proxy_answers
from .running_server import RunningServer

_MOST_HTML = 4 << 20
"""Bytes of a page that are read. A page of JupyterLab has a few ten thousand."""
_MOST_ASSETS = 300
"""How many scripts and styles of a page are loaded."""
_MOST_REDIRECTS = 10
_CONCURRENCY = 4
_PATIENCE = 5.0
"""Seconds for which requests are repeated while a proxy answers in place of the server."""
_SHOWN = 3
"""How many scripts and styles a sentence names."""
_FRONT_ENDS = ("lab", "tree", "notebooks", "doc")
"""Paths that begin with one of these are pages of JupyterLab or of Jupyter Notebook."""
_JAVASCRIPT = re.compile(r"(text|application)/(x-)?(java|ecma)script|text/(jscript|livescript)|application/node", re.I)
_NOT_RUN = re.compile(r"text/(html|csv)|application/xhtml\+xml|(image|audio|video|font)/.*", re.I)
"""Types that are not run as a script: no browser does so, or what has this type is a page in place of the script."""


def check_page_path(path: str) -> str:
    """Return the path of a page below the server, perhaps with a query, such as ``lab`` or ``git-pull?repo=...``.

    Raises `Invalid` for anything that may lead elsewhere.
    """
    hint = "Write the path below the server, such as lab, tree or lab/tree/folder?reset."
    if not path or not is_encodable(path) or not path.isprintable() or re.search(r"[\s\\#]", path):
        raise Invalid(f"page: {quoted(path)} is not the path of a page.", hint)
    plain = path.partition("?")[0]
    if path.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", plain) or _leaves_folder(plain):
        raise Invalid(f"page: {quoted(plain)} is not below the server.", hint)
    return path


def _leaves_folder(path: str) -> bool:
    """Return whether a program may read dot segments, or another host, in this path.

    Programs differ in how often they unquote a path.
    """
    for _time in range(4):
        segments = re.split(r"[/\\]", path)
        if ".." in segments or "." in segments or re.search(r"[\x00-\x1f\x7f\\]|^/|//", path):
            return True
        path = unquote(path)
    return False


def is_same_host(url: str, other: str) -> bool:
    """Return whether two addresses have the same scheme, host and port."""
    one, two = urlsplit(url), urlsplit(other)
    return scheme_and_port(one) == scheme_and_port(two) and one.hostname == two.hostname


def is_below(url: str, folder: str) -> bool:
    """Return whether an address is below another one, which ends in a slash. Both are valid addresses."""
    path = urlsplit(url).path
    dots = _leaves_folder(path.lstrip("/"))
    return is_same_host(url, folder) and not dots and unquote(path).startswith(unquote(urlsplit(folder).path))


def hide_query(url: str) -> str:
    """Return the address without its query, which may contain a secret."""
    return url.partition("?")[0]


def read_type(loaded: Loaded) -> str:
    """Return the media type of an answer in lower case, for sentences, too. A proxy may have sent the header twice."""
    return printable(find_content_type(loaded.response).partition(",")[0].strip().lower(), 100)


def find_asset_problem(asset: Asset, loaded: Loaded) -> str | None:
    """Return why a browser would not use this answer as the script or style, or None if it would."""
    if loaded.status != 200:
        return f"{loaded.status}"
    kind = read_type(loaded)
    # A browser reads a script of almost any type, unless the server forbids it to guess.
    is_strict = loaded.response.headers.get("X-Content-Type-Options", "").strip().lower() == "nosniff"
    if asset.kind == STYLE:
        return None if kind == "text/css" else f"{kind} in place of a style"
    if not loaded.size:
        return "empty"
    must_be_script = asset.kind == MODULE or is_strict
    if (must_be_script and not _JAVASCRIPT.fullmatch(kind)) or _NOT_RUN.fullmatch(kind):
        return f"{kind} in place of a script"
    return None


def find_owner_problem(page: Page, server_url: str, visitors: Collection[str]) -> str | None:
    """Return the end of a sentence if the settings of a page of JupyterLab are those of another server, or None.

    ``visitors`` are the names that the page may give to its visitor: the server's owner, or the owner of the token (in
    jupyterhub/singleuser/extension.py).
    """
    config = page.config or {}
    base, owner = config.get("baseUrl"), config.get("hubUser")
    if isinstance(base, str):
        found = join_url(page.url, base)
        prefix = unquote(urlsplit(server_url).path).rstrip("/")
        if not is_address(found) or unquote(urlsplit(found).path).rstrip("/") != prefix:
            return f"its settings say that the server is at {printable(base, 200)} (baseUrl), and it is at {prefix}/"
    if isinstance(owner, str) and owner and owner not in visitors:
        return f"its settings say that it is the page of user {quoted(owner[:200])} (hubUser)"
    return None


def prove_page(server: RunningServer, paths: Sequence[str], finding: Finding) -> None:
    """Prove that the page at each of these paths answers as the user's own, and that its scripts and styles load.

    Details: ``pages``, a list of ``{path, url, status, title, assets, problem}``, without queries. Raises `Invalid` for
    a path that is not below the server, and `HubError` for the first page that is not as it should be.
    """
    checked = [check_page_path(path) for path in paths]
    deadline = time.monotonic() + server.timeout
    pages = finding.details["pages"] = []
    for path in checked:
        shown: dict[str, Any] = {"path": hide_query(path), "url": hide_query(server.url + path)}
        shown |= {"status": None, "title": "", "assets": 0, "problem": None}
        pages.append(shown)
        try:
            _Visit(server, path, deadline, shown, finding).prove()
        except HubError as error:
            shown["problem"] = error.message
            raise
    count = sum(shown["assets"] for shown in pages)
    names = ", ".join(shown["path"] for shown in pages)
    verb = "pages {} answer" if len(pages) > 1 else "page {} answers"
    loaded = f"with {count} scripts and styles" if count else "without any script or style"
    finding.message = f"The {verb.format(names)}, {loaded}."


class _Visit:
    """A visit to one page, as a browser makes it. ``shown`` is what the result says about it."""

    def __init__(
        self, server: RunningServer, path: str, deadline: float, shown: dict[str, Any], finding: Finding
    ) -> None:
        self._server = server
        self._stranger = become_stranger(server.hub)
        self._path = path
        self._what = f"page {hide_query(path)} of the {server.title}"
        self._deadline = deadline
        self._shown = shown
        self._finding = finding

    def prove(self) -> None:
        """Raise `HubError` if the page is not as it should be."""
        loaded = self._open()
        self._shown |= {"url": hide_query(loaded.url), "status": loaded.status}
        self._check_status(loaded)
        page = self._read(loaded)
        if page is None:
            return
        self._shown |= {"title": printable(page.title, 200), "assets": len(page.assets)}
        self._check_page(page, loaded)
        self._check_assets(page)

    # The page

    def _load(self, url: str, keep: int, retry_until: float) -> Loaded:
        # The token is sent to this server only, even if the page names files of another one at the same host.
        is_ours = is_below(url, self._server.url)
        hub = self._server.hub
        is_home = is_same_host(url, self._server.url) or is_same_host(url, hub.url)
        client = hub if is_home else self._stranger
        return load(client, url, token=is_ours, keep=keep, deadline=self._deadline, retry_until=retry_until)

    def _open(self) -> Loaded:
        """Return the answer to the page's address, at the end of the redirects."""
        server = self._server
        url = server.hub.check_address(server.url + self._path)
        for _number in range(_MOST_REDIRECTS):
            if time.monotonic() > self._deadline:
                raise Timeout(
                    f"The {self._what} has not come within {server.timeout:g} s.",
                    "Look into the server's own log for what takes so long.", method="GET", url=hide_query(url),
                )  # fmt: skip
            loaded = self._load(url, _MOST_HTML, time.monotonic() + _PATIENCE)
            if not 300 <= loaded.status < 400:
                return loaded
            self._shown |= {"url": hide_query(loaded.url), "status": loaded.status}
            url = join_url(url, loaded.response.headers.get("Location", "")).partition("#")[0]
            if not is_address(url):
                raise self._fail(f"redirects to {quoted(hide_query(url)[:200])}, which is no address.", loaded)
            url = server.hub.check_address(url)
            if not is_below(url, server.url):
                raise self._leaves_server(url, loaded)
        raise self._fail(f"redirects more than {_MOST_REDIRECTS} times.", loaded)

    def _leaves_server(self, url: str, loaded: Loaded) -> HubError:
        """Return the failure of a page that redirects to an address which is not below the server."""
        server, target = self._server, hide_query(url)
        hub = server.hub.url + "hub/"
        if not server.hub.token_header(server.url):
            return foreign_host(loaded.response, server.title, server.hub.url)
        if any(is_below(url, hub + page) for page in ("user/", "spawn-pending/", "spawn/")) or url == hub + "spawn":
            return server_not_running(loaded.response, server.title)
        if is_below(url, hub + "api/oauth2/"):
            # The server sends a visitor whom it does not know to the hub.
            try:
                server.hub.read_owner()
            except HubError as error:
                return error
        if is_below(url, hub) or not is_same_host(url, server.url) or is_login_path(urlsplit(url).path):
            return self._login_in_the_way(f"It redirects to {target}.", loaded)
        return self._fail(f"redirects to {target}, which is not below the server.", loaded)

    def _login_in_the_way(self, why: str, loaded: Loaded) -> HubError:
        return UnexpectedAnswer(
            f"A login page is in the way of the {self._what}. {why}",
            "Check which proxy in front of the hub asks for the login, and have it let requests with an API token "
            "through. Check that hub_url is the address that a browser shows.",
            **describe_request(loaded.response),
        )  # fmt: skip

    def _fail(self, problem: str, loaded: Loaded, hint: str = "Look into the server's own log.") -> HubFailure:
        return HubFailure(f"The {self._what} {problem}", hint, **describe_request(loaded.response))

    def _check_status(self, loaded: Loaded) -> None:
        """Raise the failure that the status means, if it does not mean success."""
        server, response, status = self._server, loaded.response, loaded.status
        request = describe_request(response)
        if status in (401, 403):
            forbidden = explain_forbidden(server, response)
            raise forbidden or self._fail(f"is refused with {status}: {request['reason']}.", loaded)
        if status == 424:
            raise server_not_running(response, server.title)
        if status in EDGE:
            raise proxy_answers(server, response)
        if status == 404:
            raise NotFound(
                f"There is no {self._what}: {request['reason']}.",
                "Correct the option page, or install what has that page into the server's image or environment.",
                **request,
            )  # fmt: skip
        if status != 200:
            raise self._fail(f"fails with {status}: {request['reason']}.", loaded)
        if not loaded.size:
            raise self._fail("is empty.", loaded)

    def _read(self, loaded: Loaded) -> Page | None:
        """Return the page, or None if what has answered is no page and need not be one."""
        kind = read_type(loaded)
        is_front_end = re.split(r"[/?]", self._path)[0] in _FRONT_ENDS
        if kind in ("text/html", "application/xhtml+xml"):
            text = loaded.text
            # In the background, so that nothing in a page can hold the task up for longer than it may take.
            work = in_background(lambda: read_page(loaded.url, text))
            try:
                return work.result(max(self._deadline - time.monotonic(), 1.0))
            except FutureTimeout:
                raise self._fail("cannot be read in time.", loaded) from None
        if is_front_end:
            raise self._fail(f"is {kind}, and not a page in HTML.", loaded)
        return None

    def _check_page(self, page: Page, loaded: Loaded) -> None:
        """Raise `HubError` for a login page, for a page of another server, and for one that is no front end."""
        first = re.split(r"[/?]", self._path)[0]
        if page.is_login(self._server.url):
            title = f" Its title is {quoted(page.title[:100])}." if page.title else ""
            raise self._login_in_the_way(f"It answers with {loaded.status} all the same.{title}", loaded)
        visitors = [self._server.user]
        if (page.config or {}).get("hubUser") not in (None, "", *visitors):
            visitors.append(self._server.hub.owner.name)
        problem = find_owner_problem(page, self._server.url, visitors)
        if problem:
            raise self._fail(
                f"is that of another server: {problem}.",
                loaded,
                "Check the server's base_url, and which route the proxy has for the server.",
            )
        if first == "lab" and page.config is None:
            title = f" Its title is {quoted(page.title[:100])}." if page.title else ""
            raise self._fail(
                f"is not a page of JupyterLab.{title}", loaded,
                "Check whether JupyterLab is installed in the server's image, and which program answers there.",
            )  # fmt: skip
        if first in _FRONT_ENDS and not page.assets:
            raise self._fail("loads no script at all, so a browser shows a blank page.", loaded)

    # What the page names

    def _check_assets(self, page: Page) -> None:
        """Load all scripts and styles. Raise `HubFailure` for those of the server, warn of the others."""
        assets = page.assets[:_MOST_ASSETS]
        retry_until = time.monotonic() + _PATIENCE
        problems = map_concurrently(lambda asset: self._try_asset(asset, page, retry_until), assets, _CONCURRENCY)
        found = [(asset, problem) for asset, problem in zip(assets, problems, strict=True) if problem]
        host = urlsplit(page.url).hostname
        failed = [each for each in found if not each[0].is_optional and _find_host(each[0].url) == host]
        extensions = [each for each in found if each[0].is_optional]
        others = [each for each in found if each not in failed and each not in extensions]
        warnings = self._finding.warnings
        if len(page.assets) > len(assets):
            warnings.append(f"The {self._what} names {len(page.assets)} files; only {len(assets)} were loaded.")
        if extensions:
            warnings.append(f"Not all extensions of JupyterLab load: {_describe(extensions)}.")
        if others:
            warnings.append(f"Not all scripts and styles of other hosts load: {_describe(others)}.")
        if failed:
            raise HubFailure(
                f"{len(failed)} of the {len(page.assets)} scripts and styles of the {self._what} do not load, so a "
                f"browser shows a blank or broken page: {_describe(failed)}.",
                "Check that the files are in the server's image or environment (install JupyterLab anew), and that no "
                "proxy in front of the server holds them back.",
                method="GET", url=hide_query(failed[0][0].url),
            )  # fmt: skip

    def _try_asset(self, asset: Asset, page: Page, retry_until: float) -> str | None:
        """Return why the script or style does not load, or None if it does."""
        url = asset.url
        try:
            for _number in range(_MOST_REDIRECTS):
                if not is_address(url):
                    return "no address"
                if is_below(asset.url, self._server.url) and not is_below(url, self._server.url):
                    return f"redirects to {printable(hide_query(url), 200)}"
                url = self._server.hub.check_address(url)
                if urlsplit(page.url).scheme == "https" and urlsplit(url).scheme == "http":
                    return "a browser loads nothing by http:// into a page of https://"
                if time.monotonic() > self._deadline:
                    return f"not tried within {self._server.timeout:g} s"
                loaded = self._load(url, 0, retry_until)
                if not 300 <= loaded.status < 400:
                    return find_asset_problem(asset, loaded)
                url = join_url(url, loaded.response.headers.get("Location", "")).partition("#")[0]
        except HubError as error:
            return error.message.rstrip(".")
        return f"redirects more than {_MOST_REDIRECTS} times"


def _find_host(url: str) -> str | None:
    """Return the host in an address. An invalid address counts as one without a host."""
    return urlsplit(url).hostname if is_address(url) else None


def _describe(problems: Sequence[tuple[Asset, str]]) -> str:
    """Return the first addresses and what is wrong with them."""
    first = ", ".join(f"{printable(hide_query(asset.url), 200)} ({problem})" for asset, problem in problems[:_SHOWN])
    return first if len(problems) <= _SHOWN else f"{first}, and {len(problems) - _SHOWN} more"
