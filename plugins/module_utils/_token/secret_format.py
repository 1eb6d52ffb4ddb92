# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formats of a file that keeps a secret: they encode a secret as text, and decode the secret from a text.

The formats do not read or write files. A text that the format did not write is never a secret, because a file that
somebody else has made must not be overwritten. The texts of a vault and of a manifest are compared, not parsed. The
error message of a parser would quote the text, and PyYAML may be missing on the host where the module runs.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field
from typing import Protocol

from .._hub.errors import Invalid

FORMATS = ("plain", "vault", "kubernetes")
"""The choices of the option ``format``."""

_LONGEST_SECRET = 1024
"""Characters: more than any token has, and few enough to distinguish a secret from other files."""
_LONGEST_TEXT = 65536
"""Characters of a vault or a manifest. What this module writes has about 700."""


class Foreign(Exception):
    """The format did not write the text for a secret, so the text must not be overwritten.

    ``problem`` continues a sentence that begins with the name of the file. ``hint`` says what to do next.
    """

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.problem, self.hint = problem, hint


class Damaged(Exception):
    """The format wrote the text for a secret, but a part of it is missing. Nobody can read the secret any more."""


class SecretFormat(Protocol):
    """Converts a secret to the text of its file, and back."""

    @property
    def longest(self) -> int:
        """How many characters of a file are needed to decode it, or to know that it does not hold a secret."""

    def check(self) -> None:
        """Raise `Invalid` if secrets can be neither encoded nor decoded here."""

    def check_encoding(self) -> None:
        """Raise `Invalid` if a secret cannot be encoded. The flow calls this before there is a secret to lose."""

    def encode(self, secret: str) -> str:
        """Return the text for a secret. Raises `Invalid`."""

    def decode(self, text: str) -> str:
        """Return the secret in a text, or an empty text if there is none. Raises `Foreign`, `Damaged` and `Invalid`."""


@dataclass(frozen=True)
class Plain:
    """The secret in one line."""

    longest: int = _LONGEST_SECRET

    def check(self) -> None:
        pass

    def check_encoding(self) -> None:
        pass

    def encode(self, secret: str) -> str:
        return f"{secret}\n"

    def decode(self, text: str) -> str:
        """Return the text without the white space around it. It need not be a token."""
        secret = text.strip()
        if secret.startswith(_VAULT_HEADER):
            raise Foreign(
                "holds something else than a token.",
                "Give the token a file of its own, or set format: vault if it is the token that ansible-vault has "
                "encrypted there.",
            )
        if len(secret) >= self.longest:
            raise Foreign("holds something else than a token.", "Give the token a file of its own.")
        if "\0" in secret and len(secret.replace("\0", "").split()) < 2:
            # A machine that loses its power leaves zeros in place of what it has not written yet.
            raise Damaged
        return secret


PLAIN = Plain()


class Cipher(Protocol):
    """Ansible's vault. Both functions raise ValueError, without the text or the password in its message."""

    def encrypt(self, text: str, password: str) -> str:
        """Return the vault that contains the text."""

    def decrypt(self, text: str, password: str) -> str:
        """Return the text in the vault ``text``."""


def _drop_zeros(text: str) -> str:
    """Return a file's text without zeros. Raises `Damaged` if it has nothing else.

    A machine that loses its power leaves zeros in place of what it has not written yet.
    """
    whole = text.replace("\0", "")
    if text.strip() and not whole.strip():
        raise Damaged
    return whole


_VAULT_HEADER = "$ANSIBLE_VAULT;"
_VAULT_BODY = re.compile(r"((3[0-9]|[46][1-6]){2})+0a(3[0-9]|[46][1-6]){64}0a((3[0-9]|[46][1-6]){32})+", re.IGNORECASE)
"""A complete vault after its head: a salt, a digest, and blocks of sixteen bytes, which are encoded in hex twice."""
_SHORT_VAULT = 1000
"""Characters. A longer vault holds more than a token, so it may be somebody else's even if a part of it is missing."""
_IN_VAULT = r"[!#-\[\]-~]+"
"""Matches a secret that needs no escapes within the quotes of YAML."""


@dataclass(frozen=True)
class Vault:
    """A file of variables that ansible-vault encrypts. The secret is its only variable.

    ``cipher`` is Ansible's vault. It is None if the flow runs as a module, because only the controller has Ansible's
    vault.
    """

    variable: str
    password: str = field(repr=False)
    cipher: Cipher | None = field(default=None, repr=False)
    longest: int = _LONGEST_TEXT

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.variable):
            raise Invalid(
                f"vault_variable is '{self.variable}', which is not the name of a variable.",
                "Set vault_variable to the name of the variable that holds the token, of letters, digits and "
                "underscores.",
            )
        if not self.password:
            raise Invalid("format is vault, and vault_password is missing.", "Set vault_password.")

    def check(self) -> None:
        self._get_cipher()

    def _get_cipher(self) -> Cipher:
        if self.cipher is None:
            raise Invalid(
                "Only the controller can encrypt and decrypt a vault, and this task runs as a module on a host.",
                "Give the task a local connection (connection: local or delegate_to: localhost), without become and "
                "async, or choose another format.",
            )
        return self.cipher

    def check_encoding(self) -> None:
        self.encode("secret")

    def encode(self, secret: str) -> str:
        if not re.fullmatch(_IN_VAULT, secret):
            raise Invalid("The secret has characters that a vault cannot keep.", "Choose format: plain.")
        try:
            return self._get_cipher().encrypt(f'---\n{self.variable}: "{secret}"\n', self.password)
        except ValueError:
            raise Invalid(
                "The token cannot be encrypted with vault_password.",
                "Make sure that the Python library cryptography is installed where Ansible runs.",
            ) from None

    def decode(self, text: str) -> str:
        whole = _drop_zeros(text)
        if not whole.strip():
            return ""
        if _VAULT_HEADER.startswith(whole.strip()):
            raise Damaged
        if not whole.startswith(_VAULT_HEADER):
            raise Foreign("is not encrypted by ansible-vault.", "Give the token a file of its own.")
        if len(whole) <= _SHORT_VAULT and not _VAULT_BODY.fullmatch("".join(whole.splitlines()[1:])):
            raise Damaged
        try:
            if len(text) > self.longest:
                raise ValueError
            variables = self._get_cipher().decrypt(whole, self.password)
        except ValueError:
            raise Foreign(
                "cannot be decrypted with vault_password.",
                "Set vault_password to the file's password, and make sure that the Python library cryptography is "
                "installed where Ansible runs. If the file is damaged, remove it.",
            ) from None
        match = re.fullmatch(rf'---\n{self.variable}: "({_IN_VAULT})"\n*', variables)
        if match is None:
            raise Foreign(
                f"holds something else than the variable {self.variable} alone.",
                "Correct vault_variable, or give the token a file of its own.",
            )
        if "\0" in text:
            raise Damaged
        return match[1]


_KUBERNETES_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_KUBERNETES_KEY = re.compile(r"[-._a-zA-Z0-9]+")


@dataclass(frozen=True)
class Kubernetes:
    """The manifest of a Secret. ``key`` is its only key. The value is encoded, not encrypted."""

    namespace: str
    name: str
    key: str
    longest: int = _LONGEST_TEXT

    def __post_init__(self) -> None:
        for option, value in (("kubernetes_namespace", self.namespace), ("kubernetes_name", self.name)):
            if not _KUBERNETES_NAME.fullmatch(value):
                raise Invalid(
                    f"{option} is '{value}', which is not a name that Kubernetes accepts.",
                    f"Set {option} to a name of a-z, 0-9, hyphens and dots.",
                )
        if not _KUBERNETES_KEY.fullmatch(self.key):
            raise Invalid(
                f"kubernetes_key is '{self.key}', which is not a key that Kubernetes accepts.",
                "Set kubernetes_key to a key of letters, digits, hyphens, dots and underscores.",
            )

    def check(self) -> None:
        pass

    def check_encoding(self) -> None:
        pass

    @property
    def _head(self) -> str:
        """The text up to the encoded secret."""
        return (
            f'---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: "{self.name}"\n  namespace: "{self.namespace}"\n'
            f'type: Opaque\ndata:\n  "{self.key}": "'
        )

    def encode(self, secret: str) -> str:
        return f'{self._head}{base64.b64encode(secret.encode("ascii")).decode("ascii")}"\n'

    def decode(self, text: str) -> str:
        manifest = _drop_zeros(text)
        if not manifest.strip():
            return ""
        is_cut_off = self._head.startswith(manifest)
        line = manifest.removeprefix(self._head).removesuffix("\n")
        if len(text) > self.longest or not (is_cut_off or (manifest.startswith(self._head) and "\n" not in line)):
            raise Foreign(
                f"holds something else than the Secret {self.name} of the namespace {self.namespace} as this module "
                f"writes it, with the one key {self.key}.",
                "The file is left as it is. Give the token a file of its own, or remove this one.",
            )
        if is_cut_off or "\0" in text or not line.endswith('"'):
            raise Damaged
        try:
            secret = base64.b64decode(line[:-1], validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            raise Damaged from None
        if not secret:
            raise Damaged
        return secret
