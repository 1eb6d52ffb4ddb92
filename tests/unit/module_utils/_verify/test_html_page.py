# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.html_page: what a page loads, and whether it asks for a login."""

from __future__ import annotations

import json
import time

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.html_page import (
    MODULE,
    SCRIPT,
    STYLE,
    Asset,
    read_page,
)
from hypothesis import given
from hypothesis import strategies as st

SERVER = "https://hub.example.org/user/alice/"
LAB = SERVER + "lab"


def urls(text: str, url: str = LAB) -> list[str]:
    return [asset.url for asset in read_page(url, text).assets]


def test_a_page_of_jupyterlab() -> None:
    config = {
        "baseUrl": "/user/alice/", "fullLabextensionsUrl": "/user/alice/lab/extensions",
        "federated_extensions": [{"name": "@x/y", "load": "static/remoteEntry.1.js"}, {"name": "z"}, "odd", None],
    }  # fmt: skip
    page = read_page(
        LAB,
        f"""<!DOCTYPE html><html><head><title>Jupyter&amp;Lab
        </title><!-- <script src="in-a-comment.js"></script> -->
        <script id="jupyter-config-data" type="application/json">{json.dumps(config)}</script>
        <link rel="icon" href="favicon.ico"><LINK REL='StyleSheet' HREF=../static/theme.css?v=1#x />
        <script DEFER src = "/user/alice/static/lab/main.js"></script></head>
        <body><script>document.write('<script src="written.js">')</script></body></html>""",
    )
    assert page.title == "Jupyter&Lab"
    assert page.config == config
    assert page.assets == [
        Asset(STYLE, "https://hub.example.org/user/static/theme.css?v=1"),
        Asset(SCRIPT, SERVER + "static/lab/main.js"),
        Asset(SCRIPT, SERVER + "lab/extensions/@x/y/static/remoteEntry.1.js", is_optional=True),
    ]
    assert not page.is_login(SERVER)


def test_what_a_browser_loads() -> None:
    page = read_page(
        LAB,
        """<base href="/base/"><script src="a.js"></script><script src="a.js"></script>
        <script type="module" src="b.js"></script><script nomodule src="old.js"></script>
        <link rel="modulepreload" href="c.js"><script type="text/x-template" src="no.js"></script>
        <script type="importmap">{}</script>
        <script type="text/javascript; charset=utf-8" src="//cdn.example.com/d.js"></script>
        <link rel="alternate stylesheet" href="no.css"><link rel="stylesheet" disabled href="no.css">
        <noscript><link rel="stylesheet" href="no.css"></noscript><template><script src="no.js"></script></template>
        <textarea><script src="no.js"></script></textarea><script src="data:text/javascript,1"></script>
        <script src=""></script><link rel=stylesheet href='e.css'>""",
    )
    base = "https://hub.example.org/base/"
    assert page.assets == [
        Asset(SCRIPT, base + "a.js"), Asset(MODULE, base + "b.js"), Asset(MODULE, base + "c.js"),
        Asset(SCRIPT, "https://cdn.example.com/d.js"), Asset(STYLE, base + "e.css"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '<form action="/hub/login"><input type=password></form>',
        '<INPUT TYPE="Password" name=p>',
        '<form method=post action="https://sso.example.org/idp/profile/SAML2/Redirect/SSO">',
        '<form action="https://id.example.org/realms/x/login-actions/authenticate?a=b">',
        "<title>Sign in to your account</title><script src=x.js></script>",
        "<title>Log-in</title>",
        "<meta http-equiv=refresh content=\"0; url='/oauth2/authorize?x'\">",
    ],
)
def test_pages_that_ask_for_a_login(text: str) -> None:
    assert read_page(LAB, text).is_login(SERVER)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (LAB, "<title>JupyterLab</title><form action=/search>"),
        (LAB, "<title>Blogging in style</title>"),
        ("https://hub.example.org/user/login/lab", "<form><input name=q></form>"),
        (LAB, '<script id="jupyter-config-data">{"a": 1}</script><input type=password>'),
    ],
)
def test_pages_that_do_not(url: str, text: str) -> None:
    assert not read_page(url, text).is_login(url.removesuffix("lab"))


@pytest.mark.parametrize("config", ["", "{", "[1]", "NaN", "[" * 50_000, '{"federated_extensions": {}}'])
def test_settings_of_an_odd_form(config: str) -> None:
    page = read_page(LAB, f'<script id="jupyter-config-data">{config}</script><script src="a.js"></script>')
    assert [asset.url for asset in page.assets] == [SERVER + "a.js"]


@pytest.mark.parametrize(
    "piece",
    [
        "<!--", "<a", "<![CDATA[", "</", "<?", '<a b="', "<a b='", "<script>", "<script></script ", "&#", "<!", "<a/",
        "<a <a \n", "<title>", "<a b =", "<a b=", "<a" + " " * 50, "<template>", "</template>", "&#9", "<script src=a>",
    ],
)  # fmt: skip
def test_long_nonsense_takes_no_time(piece: str) -> None:
    """The standard library's parser takes minutes for some of it."""
    began = time.process_time()
    read_page(LAB, piece * (1_000_000 // len(piece)))
    read_page(LAB, "<title>" + piece * (1_000_000 // len(piece)))
    assert time.process_time() - began < 20


@given(st.text(alphabet="<>/!-?=\"' \nabcsriptlnkhed&#;:", max_size=200))
def test_no_page_crashes(text: str) -> None:
    read_page(LAB, text).is_login(SERVER)


@given(st.text(max_size=100), st.text(max_size=100))
def test_no_address_crashes(source: str, base: str) -> None:
    read_page(LAB, f'<base href="{base}"><script src="{source}"></script><form action="{source}">').is_login(SERVER)
