# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a snapshot's file: every version that was ever written is read, and whatever else is told.

``golden`` has a file of each version. A file there never changes. If `VERSION` grows, the new version gets a new file.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot import formats
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.comparison import compare_snapshots
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.formats import (
    READERS,
    VERSION,
    decode_snapshot,
    encode_snapshot,
    hide_secret,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.model import build_snapshot
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.summary import summarize
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.snapshots import LATER, Content, content, everything, snapshot

ROOT = Path(__file__).resolve().parents[4]
GOLDEN = {int(path.stem.rpartition("-")[2]): path for path in (Path(__file__).parent / "golden").iterdir()}
SCHEMA: Content = json.loads((ROOT / "docs/snapshot.schema.json").read_text())
PATH = "/srv/snapshots/teaching.json"


def decode(found: Any) -> Any:
    return decode_snapshot(json.dumps(found).encode(), PATH)


def whole(**more: Any) -> Content:
    return {"schema": formats.SCHEMA, "version": VERSION, **content(), **more}


def test_each_version_that_was_ever_written_has_a_golden_file_and_a_reader() -> None:
    """Raise VERSION? Keep the golden files and the readers that are there, and add a golden file of the new version."""
    versions = list(range(1, VERSION + 1))
    assert sorted(GOLDEN) == versions
    assert sorted(READERS) == versions


@pytest.mark.parametrize("version", sorted(GOLDEN))
def test_a_golden_file_is_read(version: int) -> None:
    found = decode_snapshot(GOLDEN[version].read_bytes(), PATH)
    assert (found.taken, found.hub["version"]) == ("2026-11-26T18:00:00Z", "5.5.3")
    assert found.users is not None
    assert found.users["alice"]["groups"] == ["physics", "staff"]
    assert "dörte \U0001f600" in found.users
    assert compare_snapshots(found, found).differences == []
    # Nothing of it is lost on the way from the file to a comparison with today's form.
    today = snapshot(content() | {"unreadable": found.unreadable})
    differences = [each for each in compare_snapshots(found, today).differences if "dörte" not in each.name]
    assert differences == []


def test_what_is_written_today_is_what_the_newest_golden_file_has() -> None:
    """If this fails, the form of the file has changed: a program that reads it may need another version."""
    golden = json.loads(GOLDEN[VERSION].read_text())
    for part in ("users", "unreadable"):
        golden[part] = content()[part]
    written = encode_snapshot(build_snapshot(everything(content()), golden["taken"], 1.5, golden["verification"]))
    assert json.loads(written) == {
        **golden,
        "tokens": sorted(golden["tokens"], key=lambda each: (each["user"], each["id"])),
    }
    assert list(json.loads(written)) == list(golden)


@pytest.mark.parametrize("version", sorted(GOLDEN))
def test_a_golden_file_fits_the_schema(version: int) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    if version == VERSION:
        assert list(Draft202012Validator(SCHEMA).iter_errors(json.loads(GOLDEN[version].read_text()))) == []


def test_the_schema_has_each_key_and_no_other() -> None:
    assert list(SCHEMA["properties"]) == SCHEMA["required"] == list(whole())
    sample = content()
    for part, item in (
        ("user", sample["users"]["alice"]),
        ("server", sample["servers"]["alice"][""]),
        ("group", sample["groups"]["staff"]),
        ("service", sample["services"]["news"]),
        ("token", sample["tokens"][0]),
    ):
        found = SCHEMA["$defs"][part]
        assert list(found["properties"]) == found["required"] == list(item), part


def test_what_is_written_fits_the_schema_and_is_read_again() -> None:
    found = build_snapshot(everything(content()), LATER, 0.1234567)
    text = encode_snapshot(found)
    assert list(Draft202012Validator(SCHEMA).iter_errors(json.loads(text))) == []
    assert decode_snapshot(text, PATH) == found
    assert text.endswith(b"}\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"schema": "hubops.jupyterhub/snapshot", "version": 1, "seconds": NaN}', "is not JSON"),
        (b"null", "its schema is not hubops.jupyterhub/snapshot"),
        (b"[]", "its schema is not"),
        (b'{"schema": "hubops.jupyterhub/verify-report", "version": 1}', "its schema is not"),
        (b'{"schema": "hubops.jupyterhub/snapshot"}', "is a snapshot of version 'None'"),
        (b'{"schema": "hubops.jupyterhub/snapshot", "version": 2}', "is a snapshot of version '2'"),
        (b'{"schema": "hubops.jupyterhub/snapshot", "version": true}', "is a snapshot of version 'True'"),
        (b'{"schema": "hubops.jupyterhub/snapshot", "version": [1]}', "is a snapshot of version '[1]'"),
        (b'{"schema": "hubops.jupyterhub/snapshot", "version": 1}', "its field 'taken' is missing"),
    ],
)
def test_what_is_no_snapshot_is_told(text: bytes, problem: str) -> None:
    with pytest.raises(Invalid) as raised:
        decode_snapshot(text, PATH)
    assert problem in raised.value.message
    assert raised.value.message.startswith(f"'{PATH}' ")
    assert len(raised.value.message) < 500


def test_a_newer_version_says_which_ones_are_read() -> None:
    with pytest.raises(Invalid, match=r"snapshot of version '2'. This version of the collection reads version 1\."):
        decode(whole(version=2))


@pytest.mark.parametrize("key", list(content()))
def test_a_key_that_is_missing_is_named(key: str) -> None:
    found = whole()
    del found[key]
    with pytest.raises(Invalid, match=f"its field '{key}' is missing"):
        decode(found)


def test_keys_that_are_new_are_ignored() -> None:
    found = whole(other=1)
    found["users"]["alice"]["other"] = 1
    assert decode(found).taken == found["taken"]


def test_a_field_of_another_type_is_named() -> None:
    found = whole()
    found["users"]["alice"]["groups"][1] = 7
    with pytest.raises(Invalid, match=r"its field 'users\.alice\.groups\.1' is missing or is not what"):
        decode(found)


@pytest.mark.parametrize("taken", ["", "yesterday", "2026-13-01T00:00:00Z", "9" * 5000])
def test_a_time_that_is_none_is_told(taken: str) -> None:
    with pytest.raises(Invalid, match="its field 'taken'"):
        decode(whole(taken=taken))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def edited(draw: st.DrawFn) -> Any:
    """A snapshot in which somebody has replaced, removed or added something."""
    found: Any = whole()
    place, depth = found, draw(st.integers(1, 6))
    for _depth in range(depth):
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or _depth == depth - 1:
            break
        place = place[key]
    match draw(st.integers(0, 2)):
        case 0:
            place[key] = draw(JSON)
        case 1:
            del place[key]
        case _ if isinstance(place, list):
            place.append(draw(JSON))
        case _:
            place[draw(st.text(max_size=3))] = draw(JSON)
    return found


def decode_or_refuse(text: bytes) -> Any:
    """The snapshot in the text, or None if it is refused with a sentence that names the file."""
    refused: list[Invalid] = []
    try:
        return decode_snapshot(text, PATH)
    except Invalid as error:
        refused.append(error)
    assert refused[0].message.startswith(f"'{PATH}' ")
    return None


@given(edited())
@settings(max_examples=300, deadline=None)
def test_a_file_that_somebody_has_edited_is_read_or_refused_and_never_breaks_anything(found: Any) -> None:
    read = decode_or_refuse(json.dumps(found).encode())
    if read is None:
        return
    for before, after in ((read, snapshot()), (snapshot(), read), (read, read)):
        compared = compare_snapshots(before, after)
        json.dumps(compared.shown())
        assert all(line.isprintable() for line in summarize(before, after, compared))
    assert compared.differences == []


@given(st.integers(0, 3000), st.integers(0, 3000), st.binary(max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_file_of_which_bytes_are_missing_or_others_are_refused_or_read(start: int, end: int, other: bytes) -> None:
    text = encode_snapshot(snapshot(verification=None))
    decode_or_refuse(text[:start] + other + text[end:])


def test_half_a_character_is_replaced() -> None:
    text = json.dumps(whole()).replace("nightly", "night\\ud800").encode()
    found = decode_snapshot(text, PATH)
    assert found.tokens is not None
    assert found.tokens[0]["note"] == "night�"
    assert b"night" in encode_snapshot(found)
    half = copy.deepcopy(content())
    half["verification"] = {"message": "\ud800"}
    assert b'"verification":{"message":"?"}' in encode_snapshot(snapshot(half))


def test_the_task_s_own_token_is_masked_wherever_a_hub_repeats_it() -> None:
    for secret in ("s3cr3t-0123456789", 'with"quote\\and{}'):
        found = content()
        found["servers"]["alice"][""]["user_options"] = {secret: [f"token {secret}!"]}
        found["groups"]["staff"]["properties"] = {"note": secret}
        found["verification"] = {"message": secret}
        text = encode_snapshot(hide_secret(snapshot(found), secret)).decode()
        assert secret not in text
        assert json.dumps(secret)[1:-1] not in text
        assert '{"********":["token ********!"]}' in text
        assert json.loads(text)["users"] == found["users"]


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(Invalid, match="verification is not what JSON can hold"):
        encode_snapshot(snapshot(verification={"seconds": float("nan")}))


@pytest.mark.parametrize("depth", [50, 101, 480, 900])
def test_options_that_a_user_has_nested_deeply_stay_as_they_are(depth: int) -> None:
    """Also if the hub has repeated the task's own token in one of them."""
    options: Any = "the token s3cr3t"
    for number in range(depth):
        options = {"s3cr3t": options} if number % 2 else [options]
    found = content()
    found["servers"]["alice"][""]["user_options"] = {"x": options}
    assert decode_snapshot(encode_snapshot(snapshot(found)), PATH) == snapshot(found)
    text = encode_snapshot(hide_secret(snapshot(found), "s3cr3t")).decode()
    assert "s3cr3t" not in text
    assert text.count("[") - text.count("]") == 0
    assert text.count("********") == 1 + depth // 2
