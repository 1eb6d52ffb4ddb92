# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads an HTML page: which scripts and styles it loads, whether it is a login page, and whose JupyterLab it is.

Sends no requests.
"""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from .._hub.connection import join_url
from .._hub.responses import parse_json

SCRIPT, MODULE, STYLE = "script", "module", "style"
_SCRIPT_TYPE = re.compile(r"(|(text|application)/(x-)?(java|ecma)script)(\s*;.*)?", re.S)
_LOGIN_PATH = re.compile(
    r"(^|/)((log|sign)[-_]?(in|on)|oauth2?|oauth_login|authorize|auth|sso|saml2?|cas)([/?._-]|$)",
    re.I,
)
_LOGIN_TITLE = re.compile(r"\b(log|sign)[ -]?(in|on)\b", re.I)
_RAW = ("script", "style", "title", "textarea", "noscript", "iframe", "noembed", "noframes", "xmp")
"""Elements whose content is text, even if it looks like tags, in a browser that runs scripts."""
_NAME = re.compile(r"</?([a-zA-Z][^\s/>]*)")
_SPACE = re.compile(r"[\s/]*")
_ATTRIBUTE = re.compile(r"[^\s/>][^\s/>=]*")
_EQUALS = re.compile(r"\s*=\s*")
_UNQUOTED = re.compile(r"[^\s>]*")
_LONGEST_VALUE = 10_000
"""Characters of an attribute or of a title that are read."""


@dataclass(frozen=True)
class Asset:
    """A file that a page loads. ``kind`` is `SCRIPT`, `MODULE` or `STYLE`."""

    kind: str
    url: str
    is_optional: bool = False
    """Whether the page works without it: JupyterLab starts without an extension that does not load."""


@dataclass
class Page:
    """What a page says."""

    url: str
    title: str = ""
    assets: list[Asset] = field(default_factory=list)
    """The scripts and styles that a browser loads, each once."""
    asks_password: bool = False
    targets: list[str] = field(default_factory=list)
    """The addresses to which its forms go, and the one to which it sends the browser on."""
    config: dict[str, Any] | None = None
    """The settings of a page of JupyterLab or of Jupyter Notebook, or None for another page."""

    def is_login(self, server_url: str) -> bool:
        """Return whether the page asks its visitor to log in. ``server_url`` is the address of the server."""
        if self.config is not None:
            return False
        # A user or a server may be called login.
        paths = [unquote(urlsplit(target).path) for target in self.targets]
        prefix = unquote(urlsplit(server_url).path)
        asks = self.asks_password or any(is_login_path(path.removeprefix(prefix)) for path in paths)
        return asks or _LOGIN_TITLE.search(self.title) is not None


@dataclass(frozen=True)
class _Tag:
    name: str
    """In lower case, with a slash before it if it ends an element."""
    attributes: dict[str, str]
    text: str = ""
    """The content of an element of `_RAW`."""


def _scan(text: str) -> Iterator[_Tag]:
    """Yield the tags of a page as a browser finds them.

    Looks at each character a few times at most. The standard library's parser takes minutes for some short texts.
    """
    end = 0
    while (start := text.find("<", end)) >= 0:
        name = _NAME.match(text, start)
        if name is None:
            close = "-->" if text.startswith("<!--", start) else ">" if text[start + 1 : start + 2] in "!?/" else ""
            end = text.find(close, start + 1)
            if end < 0:
                return
            continue
        attributes, end = _read_attributes(text, name.end())
        if end < 0:
            return
        kind, content = name[1].lower(), ""
        if text[start + 1] == "/":
            kind = "/" + kind
        elif kind in _RAW:
            closing = re.compile(rf"</{kind}(?=[\s/>])", re.I).search(text, end)
            content = text[end : closing.start() if closing else len(text)]
            end += len(content)
        yield _Tag(kind, attributes, content)


def _read_attributes(text: str, position: int) -> tuple[dict[str, str], int]:
    """Return the attributes of a tag, and where the tag ends. That is -1 if it does not end."""
    found: dict[str, str] = {}
    while True:
        position = _skip(_SPACE, text, position)
        if text[position : position + 1] in ("", ">"):
            return found, position + 1 if position < len(text) else -1
        start, position = position, _skip(_ATTRIBUTE, text, position)
        name, value = text[start:position].lower(), ""
        equals = _EQUALS.match(text, position)
        if equals:
            start = equals.end()
            quote = text[start : start + 1]
            if quote in ("'", '"') and quote:
                position = text.find(quote, start + 1)
                if position < 0:
                    return found, -1
                value, position = text[start + 1 : position], position + 1
            else:
                position = _skip(_UNQUOTED, text, start)
                value = text[start:position]
        found.setdefault(name, _unescape(value))


def _skip(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


def _unescape(text: str) -> str:
    text = text[:_LONGEST_VALUE]
    with contextlib.suppress(ValueError):  # a number of thousands of digits
        text = html.unescape(text)
    return text


class _Reader:
    """Collects what the tags of a page say."""

    def __init__(self, url: str) -> None:
        self.page = Page(url)
        self._base = url
        self._templates = 0
        """How many templates are open. A browser loads nothing of a template."""

    def add(self, tag: _Tag) -> None:
        given = tag.attributes
        if tag.name in ("template", "/template"):
            self._templates = max(self._templates + (1 if tag.name == "template" else -1), 0)
        elif self._templates:
            return
        elif tag.name == "base" and given.get("href"):
            self._base = self._resolve(given["href"])
        elif tag.name == "script":
            self._add_script(given, tag.text)
        elif tag.name == "link":
            self._add_link(given)
        elif tag.name == "input" and given.get("type", "").strip().lower() == "password":
            self.page.asks_password = True
        elif tag.name == "form":
            self.page.targets.append(self._resolve(given.get("action", "")))
        elif tag.name == "meta" and given.get("http-equiv", "").strip().lower() == "refresh":
            _seconds, _mark, target = given.get("content", "").partition("=")
            self.page.targets.append(self._resolve(target.strip("'\" ")))
        elif tag.name == "title" and not self.page.title:
            self.page.title = " ".join(_unescape(tag.text).split())

    def _add_script(self, given: dict[str, str], text: str) -> None:
        kind = given.get("type", "").strip().lower()
        if given.get("id") == "jupyter-config-data" and self.page.config is None:
            with contextlib.suppress(ValueError):
                found = parse_json(text)
                self.page.config = found if isinstance(found, dict) else None
        elif kind == "module":
            self._add_asset(MODULE, given.get("src", ""))
        elif _SCRIPT_TYPE.fullmatch(kind) and "nomodule" not in given:
            self._add_asset(SCRIPT, given.get("src", ""))

    def _add_link(self, given: dict[str, str]) -> None:
        relations = given.get("rel", "").lower().split()
        if "stylesheet" in relations and not {"alternate", "disabled"} & {*relations, *given}:
            self._add_asset(STYLE, given.get("href", ""))
        elif "modulepreload" in relations:
            self._add_asset(MODULE, given.get("href", ""))

    def _add_asset(self, kind: str, target: str) -> None:
        # The page itself contains what such an address stands for.
        if target.strip() and not re.match(r"\s*(data|blob|about|javascript):", target, re.I):
            self.page.assets.append(Asset(kind, self._resolve(target)))

    def _resolve(self, target: str) -> str:
        return join_url(self._base, target.strip()).partition("#")[0]


def is_login_path(path: str) -> bool:
    """Return whether a path is most likely that of a login page, as those of the usual programs are."""
    return _LOGIN_PATH.search(path) is not None


def read_page(url: str, text: str) -> Page:
    """Return what the page at this address says."""
    reader = _Reader(url)
    for tag in _scan(text):
        reader.add(tag)
    page = reader.page
    page.assets = list(dict.fromkeys([*page.assets, *_list_extensions(page)]))
    return page


def _list_extensions(page: Page) -> list[Asset]:
    """Return the scripts of JupyterLab's extensions. The page does not name them: JupyterLab reads its settings."""
    config = page.config or {}
    base, extensions = config.get("fullLabextensionsUrl"), config.get("federated_extensions")
    found = []
    for extension in extensions if isinstance(extensions, list) else []:
        names = [extension.get(key) for key in ("name", "load")] if isinstance(extension, dict) else []
        if isinstance(base, str) and names and all(isinstance(name, str) and name for name in names):
            path = "/".join([base.rstrip("/"), *map(str, names)])
            found.append(Asset(SCRIPT, join_url(page.url, path), is_optional=True))
    return found
