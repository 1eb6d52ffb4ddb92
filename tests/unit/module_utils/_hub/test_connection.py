# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""connection: addresses, names, durations and tokens as people write them, before any request is sent."""

from __future__ import annotations

import itertools
import re
import threading
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.connection import (
    Connection,
    build_api_path,
    find_secrets_in_url,
    is_address,
    normalize_hub_url,
    parse_duration,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

# A busy machine must not make a test fail.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

SECRET = "s3cr3t"


def text_of(error: pytest.ExceptionInfo[Invalid]) -> str:
    return f"{error.value} {error.value.as_result()}"


@pytest.mark.parametrize(
    ("pasted", "understood"),
    [
        ("https://hub.example.org", "https://hub.example.org/"),
        ("https://hub.example.org/", "https://hub.example.org/"),
        ("  https://hub.example.org/jhub/\n", "https://hub.example.org/jhub/"),
        ("https://hub.example.org/jhub", "https://hub.example.org/jhub/"),
        ("https://hub.example.org//", "https://hub.example.org/"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/"),
        ("http://[::1]:8000/jhub/", "http://[::1]:8000/jhub/"),
        ("HTTPS://Hub.example.org/", "https://Hub.example.org/"),
        # The API, as a server's own environment has it, and pages, as a browser shows them.
        ("http://hub:8081/hub/api", "http://hub:8081/"),
        ("https://hub.example.org/jhub/hub/api/", "https://hub.example.org/jhub/"),
        ("https://hub.example.org/jhub/hub/home", "https://hub.example.org/jhub/"),
        ("https://hub.example.org/hub/spawn/alice/gpu", "https://hub.example.org/"),
        ("https://hub.example.org/hub/admin", "https://hub.example.org/"),
        # A hub whose base path is /hub/ itself, and one whose base path only starts with that.
        ("https://hub.example.org/hub/hub/api", "https://hub.example.org/hub/"),
        ("https://hub.example.org/hub/apiary/", "https://hub.example.org/hub/apiary/"),
    ],
)
def test_base_url_takes_what_people_have_at_hand(pasted: str, understood: str) -> None:
    assert normalize_hub_url(pasted) == understood


@UNHURRIED
@given(st.lists(st.text("abc-_.~%", min_size=1, max_size=6), max_size=4), st.sampled_from(["", "/", "/hub/api"]))
def test_base_url_of_a_base_url_is_itself(segments: list[str], ending: str) -> None:
    once = normalize_hub_url("https://hub.example.org/" + "/".join(segments) + ending)
    assert normalize_hub_url(once) == once
    assert once.endswith("/")


@pytest.mark.parametrize("more", [f"?token={SECRET}", f"#{SECRET}", f"hub/home?next={SECRET}#{SECRET}", "?", "#"])
def test_what_is_no_part_of_an_address_is_refused_and_never_shown(more: str) -> None:
    with pytest.raises(Invalid, match="a query or a fragment") as error:
        normalize_hub_url(f"https://hub.example.org/{more}")
    assert SECRET not in text_of(error)
    assert all(SECRET in secret for secret in find_secrets_in_url(f"https://hub.example.org/{more}"))


@pytest.mark.parametrize(
    "url",
    [
        f"https://alice:{SECRET}@hub.example.org/",
        f"https://{SECRET}@hub.example.org/",
        f"https://hub.example.org/?token={SECRET}",
        f"https://hub.example.org/hub/home#{SECRET}",
    ],
)
def test_what_may_be_secret_in_an_address_is_known(url: str) -> None:
    assert any(SECRET in secret for secret in find_secrets_in_url(url))
    assert find_secrets_in_url("https://hub.example.org:8000/jhub/") == set()
    assert find_secrets_in_url("https://hub.example.org/user/bob@example.org/lab") == set()


@pytest.mark.parametrize(
    "form",
    [
        "bob:{}@hub.example.org", "https:/bob:{}@hub/", "https:///bob:{}@hub/", "https:bob:{}@hub", "HTTPS://bob:{}@hub",
        "ftp://bob:{}@hub/", "{}@hub", "https://bob:{}@hub/?token={}", "https://hub/?next=a@b&token={}", "hub#{}?{}",
        "https://hub/user/a@b/?token={}", " https://bob:{}@hub/#{} ",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "password", ["hunter2pw", "hunt/er2pw", "hunt#er2pw", "hunt?er2pw", "hunt@er2pw", "8000/er2pw"]
)
def test_no_part_of_a_secret_in_what_is_meant_for_an_address_is_shown(form: str, password: str) -> None:
    """Whatever the order in which they are masked."""
    url = form.replace("{}", password)
    secrets = sorted(find_secrets_in_url(url))
    for order in itertools.permutations(secrets):
        shown = url
        for secret in order:
            shown = shown.replace(secret, "*" * 8)
        assert not [part for part in re.split("[/#?@]", password) if part in shown]


@pytest.mark.parametrize("url", ["http://hub/user/a%20b/", "https://hub:8000/user/a@b.org/", "http://[::1]:80/x?y=z#w"])
def test_what_all_programs_read_alike_is_an_address(url: str) -> None:
    assert is_address(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://evil\\@hub/", "//evil\\@hub/user/bob/", "http://evil@hub/", "http://a:b@hub/", "http://hub/a b",
        "http://hub\t/", "http://hub/\r\nX: y", "http://hub/\x00", "http://hub/\x7f", "http://hub/\u2028", "http://hub/\xa0",
        "http://hub..x/", f"http://{'a' * 64}/",
    ],
)  # fmt: skip
def test_what_two_programs_may_read_otherwise_is_none(url: str) -> None:
    assert not is_address(url)


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        " ",
        "hub.example.org",
        "hub.example.org:8000/jhub",
        "//hub.example.org/",
        "ftp://hub.example.org/",
        "https://",
        "https:///jhub/",
        "https://:8000/",
        "https://hub example.org/",
        "https://hub.example.org/j hub/",
        "https://hub.example.org:65536/",
        "https://hub.example.org:-1/",
        "https://hub.example.org:http/",
        "https://[::1/",
        "https://{{ hub_host }}/",
        "http://hub..example.org/",
        "http://.example.org/",
        f"http://{'a' * 64}.example.org/",
        "http://hub.example.org:0/",
        "http://hub\x01.example.org/",
        "http://hub.exam\tple.org/",
        "http://hub.example.org/a\x7fb/",
        "file:///etc/passwd",
    ],
)
def test_base_url_refuses_what_is_none(pasted: str) -> None:
    with pytest.raises(Invalid) as error:
        normalize_hub_url(pasted)
    assert error.value.hint


@pytest.mark.parametrize(
    "pasted", [f"https://alice:{SECRET}@hub.example.org/", f"https://{SECRET}@hub.example.org/", "https://@hub/"]
)
def test_base_url_refuses_credentials_in_so_many_words(pasted: str) -> None:
    with pytest.raises(Invalid, match="user name or a password") as error:
        normalize_hub_url(pasted)
    assert SECRET not in text_of(error)


@UNHURRIED
@given(st.text(max_size=8), st.text(max_size=8))
@example("", "")
@example("", "#1")  # an address ends at an unquoted `#`, `/` or `?`, and what stands before it looks like a port
@example("", "/1")
@example("", "\u2100")  # the library objects to such characters, and quotes what it objects to
def test_a_password_in_the_address_is_refused_and_never_shown(before: str, after: str) -> None:
    # After a port and a slash, it is another address, and a valid one.
    assume(not re.match(r"\s*\d*\s*[/?#]", before))
    with pytest.raises(Invalid) as error:
        normalize_hub_url(f"https://alice:{before}{SECRET}{after}@hub.example.org/")
    assert SECRET not in text_of(error)


@UNHURRIED
@given(st.text())
def test_base_url_gives_a_sound_address_or_a_sentence(pasted: str) -> None:
    for address in (pasted, "https://" + pasted, "http://hub.example.org/" + pasted):
        try:
            parts = urlsplit(normalize_hub_url(address))
        except Invalid:
            continue
        assert parts.scheme in ("http", "https")
        assert parts.hostname
        assert parts.path.endswith("/")
        assert not parts.query
        assert not parts.fragment


# What jupyterhub/utils.py does in `url_escape_path`.
names = st.text(min_size=1).filter(lambda name: name not in (".", ".."))


@UNHURRIED
@given(names.filter(lambda name: not any(char == "/" or "\ud800" <= char <= "\udfff" for char in name)))
@example("alice@example.org")
@example("~alice")
@example("100%")
@example("%2F")
@example("with space")
@example("Zoë")
@example("用户")
@example("a?b#c;d=e&f+g")
@example("...")
def test_names_are_quoted_as_the_hub_quotes_them(name: str) -> None:
    path = build_api_path("users", name, "server")
    assert path == f"users/{quote(name, safe='@~')}/server"
    assert unquote(path.split("/")[1]) == name


@pytest.mark.parametrize("segment", ["", ".", ".."])
def test_a_name_that_would_lead_elsewhere_is_refused(segment: str) -> None:
    with pytest.raises(Invalid):
        build_api_path("users", segment, "server")


@pytest.mark.parametrize("name", ["alice/server", "x/../alice", "/alice", "alice/", "/", "//"])
def test_a_slash_in_a_name_that_can_have_none_is_refused(name: str) -> None:
    """It would be harmless if it stayed quoted, but a proxy in front of a hub may unquote it."""
    for path in (("users", name), ("users", name, "server"), ("users", "alice", "servers", name, "progress")):
        with pytest.raises(Invalid, match=name):
            build_api_path(*path)


def test_a_group_can_have_a_slash_in_its_name() -> None:
    """Keycloak's groups have such names."""
    assert build_api_path("groups", "/staff/it", "users") == "groups/%2Fstaff%2Fit/users"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (90, 90), (0.5, 0.5), ("90", 90), ("90s", 90), ("1.5m", 90), ("30m", 1800), ("2h", 7200), ("1d", 86400),
        (" 90 s ", 90),
    ],
)  # fmt: skip
def test_durations(written: str | float, meant: float) -> None:
    assert parse_duration(written, "wait_timeout") == meant


@pytest.mark.parametrize(
    "written",
    ["", "0", "0s", "0.0", "-1", "1w", "1h30m", "90S", "s", "1e3", "inf", "nan", "1.", ".5", "1_000", "forever", "None",
     # More than a clock of Python can count (about 292 years).
     "999999d",
     # As a float it is infinite.
     "9" * 400],
)  # fmt: skip
def test_what_is_no_duration_is_refused_with_the_option_s_name(written: str) -> None:
    with pytest.raises(Invalid, match="wait_timeout") as error:
        parse_duration(written, "wait_timeout")
    assert "90s" in error.value.hint


@UNHURRIED
@given(st.integers(1, 10**4), st.sampled_from(["", "s", "m", "h", "d"]))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}", "x") == number * parse_duration(f"1{unit}", "x")


@UNHURRIED
@given(st.one_of(st.text(), st.from_regex(r"\d+[smhd]?", fullmatch=True)))
def test_a_duration_is_one_that_a_clock_can_count_or_refused(written: str) -> None:
    try:
        meant = parse_duration(written, "x")
    except Invalid:
        return
    assert 0 < meant <= threading.TIMEOUT_MAX


def test_the_white_space_around_a_token_read_from_a_file_is_taken_off() -> None:
    assert Connection("https://hub/", f" {SECRET}\n").api_token == SECRET


@UNHURRIED
@given(st.text(max_size=4), st.text(max_size=4))
@example("", "\u00e9")
@example("", "\r\nX-Injected: 1")
@example("a b", "c")
def test_a_token_is_printable_ascii_or_refused_without_being_shown(before: str, after: str) -> None:
    token = f"{before}{SECRET}{after}"
    assume(not all("!" <= char <= "~" for char in token.strip()))
    with pytest.raises(Invalid, match="API token") as error:
        Connection("https://hub/", token)
    assert SECRET not in text_of(error)


@pytest.mark.parametrize("option", ["ca_path", "client_cert", "client_key"])
def test_a_file_that_is_not_there_is_named_with_its_option(option: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"missing\.pem") as error:
        Connection("https://hub/", **{option: str(tmp_path / "missing.pem")})  # type: ignore[arg-type]
    assert option in error.value.hint


def test_certificates_in_the_words_of_the_http_library(tmp_path: Path) -> None:
    file = tmp_path / "some.pem"
    file.touch()
    path = str(file)
    assert (Connection("https://hub/").verify, Connection("https://hub/").cert) == (True, None)
    assert Connection("https://hub/", ca_path=path).verify == path
    assert Connection("https://hub/", ca_path=path, validate_certs=False).verify is False
    assert Connection("https://hub/", client_cert=path).cert == path
    assert Connection("https://hub/", client_cert=path, client_key=path).cert == (path, path)
