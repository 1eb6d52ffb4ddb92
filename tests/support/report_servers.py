# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts servers that keep reports: WebDAV, the API of S3, and Prometheus' Pushgateway.

with webdav(tmp_path) as dav:
    ...  # https, with a private CA and an account. What is sent to dav.url + "a/b" is in dav.folder / "a/b"
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from support.hubs import local_hub, venv
from support.waiting import wait_until

ATTEMPTS = 5  # each with another port, in case another program takes the chosen one before the server listens


@contextlib.contextmanager
def running_server(folder: Path, command: Callable[[int], Sequence[str | Path]], **env: str) -> Iterator[int]:
    """A server on the loopback for the time of the block, from its port to its command. Yields the port."""
    log = folder / "server.log"
    for _attempt in range(ATTEMPTS):
        [port] = local_hub.free_ports(1)
        with log.open("w") as output:
            process = subprocess.Popen(
                [str(word) for word in command(port)], cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **env},
            )  # fmt: skip
        try:
            wait_until(lambda port=port, process=process: process.poll() is not None or local_hub.listens(port))
            if process.poll() is None:
                yield port
                return
        finally:
            process.kill()
            process.wait()
    raise AssertionError(f"The server does not start:\n{log.read_text()}")


@dataclass(frozen=True)
class WebDav:
    url: str
    folder: Path
    user: str
    password: str
    ca_path: Path


@contextlib.contextmanager
def webdav(tmp_path: Path, user: str = "reporter", password: str = "of-the-reporter") -> Iterator[WebDav]:
    """WsgiDAV, with Basic authentication and TLS."""
    folder = tmp_path / "webdav"
    files = folder / "files"
    files.mkdir(parents=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    config = folder / "wsgidav.json"
    config.write_text(
        json.dumps(
            {
                "provider_mapping": {"/": str(files)},
                "simple_dc": {"user_mapping": {"*": {user: {"password": password}}}},
                "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
                "ssl_certificate": str(folder / "cert.pem"),
                "ssl_private_key": str(folder / "key.pem"),
            }
        )
    )
    program = venv("uploads") / "bin" / "wsgidav"
    with running_server(
        folder, lambda port: [program, "--config", config, "--host", "127.0.0.1", "--port", str(port)]
    ) as port:
        yield WebDav(f"https://127.0.0.1:{port}/", files, user, password, folder / "ca.pem")


BUCKET = "reports"


@dataclass(frozen=True)
class S3:
    url: str
    folder: Path

    def call(self, code: str) -> Any:
        """Run an expression of Python with ``s3``, a client of boto3, and return its value."""
        program = f"""
import boto3, json
from botocore.config import Config
s3 = boto3.client("s3", endpoint_url={self.url!r}, region_name="us-east-1", aws_access_key_id="of-an-account",
                  aws_secret_access_key="of-s3", config=Config(signature_version="s3v4"))
print(json.dumps({code}, default=str))
"""
        python = venv("uploads") / "bin" / "python"
        done = subprocess.run([python, "-c", program], cwd=self.folder, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    def sign_put(self, key: str, content_type: str | None = None) -> str:
        """A presigned URL for one PUT, for any content type or for this one."""
        parameters = {"Bucket": BUCKET, "Key": key, **({"ContentType": content_type} if content_type else {})}
        return str(self.call(f"s3.generate_presigned_url('put_object', Params={parameters!r}, ExpiresIn=3600)"))

    def read(self, key: str) -> tuple[str, str]:
        """The content and the content type of an object."""
        found = f"s3.get_object(Bucket={BUCKET!r}, Key={key!r})"
        text, content_type = self.call(f"[(one['Body'].read().decode(), one['ContentType']) for one in [{found}]][0]")
        return text, content_type


@contextlib.contextmanager
def s3(tmp_path: Path) -> Iterator[S3]:
    """Moto's server, with a bucket. It does not check signatures."""
    folder = tmp_path / "s3"
    folder.mkdir()
    program = venv("uploads") / "bin" / "moto_server"
    with running_server(folder, lambda port: [program, "-H", "127.0.0.1", "-p", str(port)]) as port:
        server = S3(f"http://127.0.0.1:{port}", folder)
        server.call(f"s3.create_bucket(Bucket={BUCKET!r})")
        yield server


@contextlib.contextmanager
def pushgateway(tmp_path: Path) -> Iterator[str]:
    """Prometheus' Pushgateway. Yields its URL. Skips the test if the program is not installed."""
    program = shutil.which("prometheus-pushgateway")
    if not program:
        pytest.skip("The Pushgateway is not installed: run tools/monitoring --install")
    folder = tmp_path / "pushgateway"
    folder.mkdir()
    with running_server(folder, lambda port: [program, f"--web.listen-address=127.0.0.1:{port}"]) as port:
        yield f"http://127.0.0.1:{port}/"
