# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""secret_format: the text for a secret, the secret in a text, and texts that must not be overwritten."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token import secret_file
from ansible_collections.hubops.jupyterhub.plugins.module_utils._token.secret_format import (
    PLAIN,
    Damaged,
    Foreign,
    Kubernetes,
    SecretFormat,
    Vault,
)
from ansible_collections.hubops.jupyterhub.plugins.plugin_utils._action import VaultCipher
from hypothesis import given, settings
from hypothesis import strategies as st

SECRET = "0123456789abcdef0123456789abcdef"
PASSWORD = 'nobody\'s "own" wörds'
VAULT = Vault("hub_token", PASSWORD, VaultCipher())
MANIFEST = Kubernetes("checks", "hub-token", "token")
FORMATS: dict[str, SecretFormat] = {"plain": PLAIN, "vault": VAULT, "kubernetes": MANIFEST}
TEXT = VAULT.encode(SECRET)
WRITTEN_MANIFEST = f"""---
apiVersion: v1
kind: Secret
metadata:
  name: "hub-token"
  namespace: "checks"
type: Opaque
data:
  "token": "{base64.b64encode(SECRET.encode()).decode()}"
"""
"""What the role service_account has written since version 1.0.0. Its files must be read by all later versions."""


@pytest.fixture(params=FORMATS)
def secret_format(request: pytest.FixtureRequest) -> SecretFormat:
    return FORMATS[request.param]


def encrypted(text: str, password: str = PASSWORD, vault_id: str | None = None) -> str:
    return str(VaultLib().encrypt(text, VaultSecret(password.encode()), vault_id).decode())


def outcome(secret_format: SecretFormat, text: str) -> str:
    """The secret in the text, or why there is none."""
    try:
        return secret_format.decode(text)
    except (Damaged, Foreign) as error:
        return type(error).__name__.lower()


@pytest.mark.parametrize("secret", [SECRET, "x", "#!$&'()*+,-./:;<=>?@[]^_`{|}~", "a" * 900])
def test_what_is_encoded_can_be_decoded(secret_format: SecretFormat, secret: str) -> None:
    secret_format.check()
    secret_format.check_encoding()
    text = secret_format.encode(secret)
    assert secret_format.decode(text) == secret
    assert text.isascii()
    assert text.endswith("\n")


def test_the_texts_are_those_that_the_role_has_always_written() -> None:
    assert PLAIN.encode(SECRET) == f"{SECRET}\n"
    assert MANIFEST.encode(SECRET) == WRITTEN_MANIFEST
    assert yaml.safe_load(WRITTEN_MANIFEST)["data"] == {"token": base64.b64encode(SECRET.encode()).decode()}
    text = VAULT.encode(SECRET)
    assert text.startswith("$ANSIBLE_VAULT;1.1;AES256\n")
    assert VaultCipher().decrypt(text, PASSWORD) == f'---\nhub_token: "{SECRET}"\n'
    assert SECRET not in text


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_text_may_end_without_a_line_end(end: str) -> None:
    assert VAULT.decode(encrypted(f'---\nhub_token: "{SECRET}"{end}')) == SECRET
    assert VAULT.decode(VAULT.encode(SECRET).removesuffix("\n") + end) == SECRET
    assert MANIFEST.decode(WRITTEN_MANIFEST.removesuffix("\n") + end) == SECRET


@pytest.mark.parametrize("vault_id", ["default", "prod"])
def test_the_password_decides_whatever_the_vault_id(vault_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.constants.DEFAULT_VAULT_ID_MATCH", True)
    assert VAULT.decode(encrypted(f'---\nhub_token: "{SECRET}"\n', vault_id=vault_id)) == SECRET


@pytest.mark.parametrize("text", ["", "\n", " \r\n"])
def test_an_empty_text_holds_nothing(secret_format: SecretFormat, text: str) -> None:
    assert secret_format.decode(text) == ""


def test_zeros_are_a_secret_that_was_lost(secret_format: SecretFormat) -> None:
    for text in ("\0" * 33, secret_format.encode(SECRET)[:-9] + "\0" * 9, secret_format.encode(SECRET) + "\0" * 9):
        with pytest.raises(Damaged):
            secret_format.decode(text)


def test_a_manifest_that_is_cut_off_anywhere_is_damaged() -> None:
    for length in range(1, len(WRITTEN_MANIFEST) - 1):
        with pytest.raises(Damaged):
            MANIFEST.decode(WRITTEN_MANIFEST[:length])


def test_a_vault_that_is_cut_off_is_damaged_unless_a_whole_block_is_missing() -> None:
    """A vault of fewer blocks looks like a whole one of another password, and is left alone."""
    found = [outcome(VAULT, TEXT[:length]) for length in range(1, len(TEXT) - 1)]
    assert set(found) == {"damaged", "foreign"}
    assert found.count("foreign") <= 6  # after each block, and at the ends of lines there


@pytest.mark.parametrize("value", ["", "!!!!", "x", "w7w=", "c2VjcmV0"[:-1]], ids=str)
def test_a_manifest_whose_value_is_no_secret_is_damaged(value: str) -> None:
    with pytest.raises(Damaged):
        MANIFEST.decode(WRITTEN_MANIFEST.replace(base64.b64encode(SECRET.encode()).decode(), value))


FOREIGN: dict[str, tuple[SecretFormat, str, str]] = {
    "plain: a vault": (PLAIN, VAULT.encode(SECRET), "something else"),
    "plain: long": (PLAIN, "x" * 1024, "something else"),
    "plain: zeros among words": (PLAIN, "x" * 1024 + "\0", "something else"),
    "vault: a plain secret": (VAULT, f"{SECRET}\n", "not encrypted"),
    "vault: variables": (VAULT, f'---\nhub_token: "{SECRET}"\n', "not encrypted"),
    "vault: another password": (VAULT, encrypted(f'---\nhub_token: "{SECRET}"\n', "other"), "cannot be decrypted"),
    "vault: another variable": (VAULT, encrypted(f'---\nother: "{SECRET}"\n'), "something else than the variable"),
    "vault: more": (VAULT, encrypted(f'---\nhub_token: "{SECRET}"\nother: x\n'), "something else than the variable"),
    "vault: a comment": (VAULT, encrypted(f'---\n# mine\nhub_token: "{SECRET}"\n'), "something else than the variable"),
    "vault: an expression": (VAULT, encrypted('---\nhub_token: "{{ x }}"\n'), "something else than the variable"),
    "vault: unicode": (VAULT, encrypted('---\nhub_token: "tökén"\n'), "something else than the variable"),
    "vault: no text": (
        VAULT, VaultLib().encrypt(b"\xff\xfe", VaultSecret(PASSWORD.encode())).decode(), "cannot be decrypted",
    ),
    "vault: a long one that is cut off": (VAULT, encrypted("x: 1\n" * 500)[:-20], "cannot be decrypted"),
    "vault: huge": (VAULT, "$ANSIBLE_VAULT;1.1;AES256\n" + "3" * 70000, "cannot be decrypted"),
    "vault: an unknown cipher": (VAULT, "$ANSIBLE_VAULT;1.1;ROT13\n" + "33" * 600, "cannot be decrypted"),
    "kubernetes: another name": (MANIFEST, WRITTEN_MANIFEST.replace("hub-token", "other"), "something else than the S"),
    "kubernetes: another namespace": (MANIFEST, WRITTEN_MANIFEST.replace("checks", "other"), "something else than"),
    "kubernetes: another key": (MANIFEST, WRITTEN_MANIFEST.replace('"token"', '"password"'), "something else than"),
    "kubernetes: more keys": (MANIFEST, WRITTEN_MANIFEST + '  "password": "c2VjcmV0"\n', "something else than the S"),
    "kubernetes: labels": (MANIFEST, WRITTEN_MANIFEST.replace("type:", "  labels: {}\ntype:"), "something else than"),
    "kubernetes: a plain secret": (MANIFEST, f"{SECRET}\n", "something else than the Secret"),
    "kubernetes: unicode": (MANIFEST, "k\ufffd\ufffdnd: Secret\n", "something else than the Secret"),
    "kubernetes: huge": (MANIFEST, WRITTEN_MANIFEST[:-2] + "A" * 70000 + '"\n', "something else than the Secret"),
}  # fmt: skip


@pytest.mark.parametrize(("secret_format", "text", "problem"), FOREIGN.values(), ids=FOREIGN)
def test_a_text_of_something_else_is_no_secret(
    secret_format: SecretFormat, text: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(Foreign, match=problem) as raised:
        secret_format.decode(text)
    assert raised.value.hint
    # Nothing of the text is in the sentence, and the file has a name there.
    path = tmp_path / "file"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(Invalid) as invalid:
        secret_file.read(str(path), secret_format)
    assert invalid.value.message.startswith(f"'{path}' ")
    for secret in (SECRET, PASSWORD, base64.b64encode(SECRET.encode()).decode()):
        assert secret not in str(invalid.value.as_result())
    assert secret_file.read_left_over(str(path), secret_format) == ""


def test_words_with_zeros_among_them_were_no_secret() -> None:
    assert PLAIN.decode("not a\0token") == "not a\0token"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"variable": "no-name"}, "vault_variable"),
        ({"variable": ""}, "vault_variable"),
        ({"variable": "x\n"}, "vault_variable"),
        ({"variable": "ö"}, "vault_variable"),
        ({"password": ""}, "vault_password"),
    ],
)
def test_a_vault_that_cannot_be_written(options: dict[str, Any], option: str) -> None:
    with pytest.raises(Invalid, match=option) as raised:
        replace(VAULT, **options)
    assert option in raised.value.hint


@pytest.mark.parametrize(
    ("names", "option"),
    [
        (("", "x", "token"), "kubernetes_namespace"),
        (("Checks", "x", "token"), "kubernetes_namespace"),
        (("checks", 'x"\n', "token"), "kubernetes_name"),
        (("checks", "x\n", "token"), "kubernetes_name"),
        (("checks", "x", ""), "kubernetes_key"),
        (("checks", "x", "a b"), "kubernetes_key"),
    ],
)
def test_a_manifest_that_cannot_be_written(names: tuple[str, str, str], option: str) -> None:
    with pytest.raises(Invalid, match=option) as raised:
        Kubernetes(*names)
    assert option in raised.value.hint


def test_without_ansible_s_vault_the_sentence_says_who_has_it(secret_format: SecretFormat) -> None:
    vault = replace(VAULT, cipher=None)
    for refused in (vault.check, vault.check_encoding, lambda: vault.encode(SECRET), lambda: vault.decode(TEXT)):
        with pytest.raises(Invalid, match="Only the controller can encrypt and decrypt a vault") as raised:
            refused()
        assert "connection: local" in raised.value.hint


def test_a_vault_that_cannot_be_encrypted_is_found_out_before_there_is_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ansible.parsing.vault.HAS_CRYPTOGRAPHY", False)
    with pytest.raises(Invalid, match="cannot be encrypted") as raised:
        VAULT.check_encoding()
    assert "cryptography" in raised.value.hint
    with pytest.raises(Foreign) as foreign:
        VAULT.decode(TEXT)
    assert "cryptography" in foreign.value.hint


@pytest.mark.parametrize("secret", ['a"b', "a\\b", "a b", "a\nb", "ö", ""])
def test_a_secret_that_would_need_escapes_is_not_put_into_a_vault(secret: str) -> None:
    with pytest.raises(Invalid) as raised:
        VAULT.encode(secret)
    assert not secret or secret not in raised.value.message


def test_no_representation_tells_the_password() -> None:
    assert PASSWORD not in repr(VAULT)
    assert "own" not in repr(VAULT)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("ascii", "replace")))
def test_any_text_is_a_secret_damaged_or_somebody_else_s(text: str) -> None:
    for secret_format in FORMATS.values():
        for each in (text, WRITTEN_MANIFEST[:100] + text, TEXT[:40] + text):
            outcome(secret_format, each)


@pytest.mark.parametrize("secret_format", FORMATS, indirect=True)
def test_files_of_each_format(secret_format: SecretFormat, tmp_path: Path) -> None:
    """Written through a link, left over by a killed run, and larger than any of them."""
    path, target = tmp_path / "token", tmp_path / "target"
    target.write_text("not ours")
    path.symlink_to(target)
    secret_file.write(str(path), SECRET, secret_format)
    assert (target.read_text(), path.is_symlink(), path.stat().st_mode & 0o777) == ("not ours", False, 0o600)
    assert secret_file.read(str(path), secret_format) == SECRET
    secret_file.prepare(str(path), SECRET[::-1], secret_format)
    assert secret_file.read_left_over(str(path), secret_format) == SECRET[::-1]
    assert secret_file.read(str(path), secret_format) == SECRET
    (tmp_path / ".token.new").write_text(secret_format.encode(SECRET)[:-5])
    assert secret_file.read_left_over(str(path), secret_format) in ("", SECRET[:-4])
    with open(path, "ab") as file:
        os.truncate(file.fileno(), 10**10)  # with nothing in it: it takes no room
    with pytest.raises((Invalid, Damaged)):
        secret_file.read(str(path), secret_format)
