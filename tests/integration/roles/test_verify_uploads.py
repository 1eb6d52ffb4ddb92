# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role verify sends its report to servers: to WebDAV, to S3, to the Pushgateway, and to fakes that misbehave.

The hubs have light servers. Each upload is compared with the file that the role has written.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.fakes.misbehaving_hub import Answer, Request, misbehaving_hub, no_answer, redirect_to
from support.hubs import Hub, local_hub
from support.playbooks import ProgramResult, mint, oldest_ansible_bin, run_playbook, servers
from support.report_servers import S3, WebDav, pushgateway, s3, webdav

VERIFY = "hubops.jupyterhub.verify"
HTML, XML = "text/html; charset=utf-8", "application/xml"

_numbers = count(1)


@pytest.fixture(scope="module")
def dav(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDav]:
    with webdav(tmp_path_factory.mktemp("uploads")) as server:
        yield server


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3(tmp_path_factory.mktemp("uploads")) as server:
        yield server


def member(hub: Hub, **variables: Any) -> dict[str, Any]:
    """The variables of a host whose hub passes, without a server."""
    user = f"uploads{next(_numbers)}"
    return {"hub_url": hub.url, "verify_api_token": mint(hub, user), "verify_checks": [], **variables}


def play(
    folder: Path,
    hosts: dict[str, dict[str, Any]],
    uploads: Any,
    *arguments: str,
    playbook: str | Path = VERIFY,
    timeout: int = 60,
    **more: Any,
) -> ProgramResult:
    """Run the playbook. The pause between two attempts is short."""
    hosts = {host: {**variables, "verify_uploads": uploads} for host, variables in hosts.items()}
    variables = {"verify_upload_pause": 0.1, "verify_upload_timeout": timeout}
    return run_playbook(playbook, *arguments, folder=folder, hosts=hosts, variables=variables, **more)


def to_dav(dav: WebDav, file: str, name: str, **more: Any) -> dict[str, Any]:
    account = {"user": dav.user, "password": dav.password, "ca_path": str(dav.ca_path)}
    return {"file": file, "url": dav.url + name, **account, **more}


def written(folder: Path, file: str) -> str:
    return (folder / "verify-report" / file).read_text()


def last_line(done: ProgramResult) -> str:
    """The line that ends the table."""
    [line] = [line for line in done.stdout.splitlines() if ", report in " in line]
    return line.strip().strip('",')


def failure_of(done: ProgramResult) -> str:
    """What the last task says for the first host."""
    return done.stdout.partition("Fail, because")[2].partition("PLAY RECAP")[0]


# Real servers


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_the_report_of_all_hubs_is_sent_once_to_each_place(
    ansible: str, hub_61: Hub, dav: WebDav, bucket: S3, tmp_path: Path
) -> None:
    hosts = {"one": member(hub_61), "two": member(hub_61)}
    signed = bucket.sign_put(f"{ansible}.xml", XML)
    uploads = [
        to_dav(dav, "index.html", f"{tmp_path.name}.html"),
        {"file": "junit.xml", "url": signed},
        to_dav(dav, "report.json", f"{tmp_path.name}.json", url=dav.url.replace("//", f"//{dav.user}:{dav.password}@")
               + f"{tmp_path.name}.json", user=None, password=None),
    ]  # fmt: skip
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    done = play(tmp_path, hosts, uploads, "-vvvv", bin_folder=bin_folder)
    assert done.status == 0, done.output
    for suffix, file in (("html", "index.html"), ("json", "report.json")):
        assert (dav.folder / f"{tmp_path.name}.{suffix}").read_text() == written(tmp_path, file)
    assert bucket.read(f"{ansible}.xml") == (written(tmp_path, "junit.xml"), XML)
    assert last_line(done).endswith(f", report in verify-report, sent to {bucket.url}, {dav.url.rstrip('/')}")
    assert (
        find_secrets(done, tmp_path, [dav.password, basic(dav), "X-Amz", "Signature", signed.partition("?")[2]]) == []
    )
    # The next run replaces the files.
    assert play(tmp_path, hosts, uploads, bin_folder=bin_folder).status == 0
    assert (dav.folder / f"{tmp_path.name}.html").read_text() == written(tmp_path, "index.html")


def basic(dav: WebDav) -> str:
    return base64.b64encode(f"{dav.user}:{dav.password}".encode()).decode()


def find_secrets(done: ProgramResult, folder: Path, secrets: list[str]) -> list[str]:
    """The secrets that the output or a file of the report shows."""
    texts = [done.output, *(path.read_text() for path in (folder / "verify-report").iterdir())]
    return [secret for secret in secrets if any(secret in text for text in texts)]


def test_the_pushgateway_has_the_metrics(hub_61: Hub, tmp_path: Path) -> None:
    with pushgateway(tmp_path) as url:
        uploads = [{"file": "metrics.prom", "url": f"{url}metrics/job/hubops"}]
        done = play(tmp_path, {"teaching": member(hub_61)}, uploads)
        assert done.status == 0, done.output
        text = requests.get(f"{url}metrics", timeout=60).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    found = {(s.labels["hub"], s.labels["job"], s.labels["verdict"]): s.value
             for s in samples if s.name == "hubops_verify_verdict"}  # fmt: skip
    assert found[("teaching", "hubops", "passed")] == 1


def test_a_url_is_what_was_signed(hub_61: Hub, bucket: S3, tmp_path: Path) -> None:
    """Moto checks no signature. So this compares method, address and content type with what was signed."""
    signed = bucket.sign_put("a folder/page ü.html", HTML)
    with misbehaving_hub(lambda request: Answer()) as fake:
        host = fake.url.strip("/")
        done = play(
            tmp_path, {"hub": member(hub_61)}, [{"file": "index.html", "url": signed.replace(bucket.url, host)}]
        )
        assert done.status == 0, done.output
        [request] = fake.requests
    assert (request.method, host + request.path) == ("PUT", signed.replace(bucket.url, host))
    assert "content-type" in signed  # one of the signed headers, with the host
    assert (request.headers["host"], request.headers["content-type"]) == (host.partition("//")[2], HTML)
    assert request.token is None
    assert request.body.decode() == written(tmp_path, "index.html")


# What fails


def test_uploads_that_fail_neither_stop_others_nor_hide_the_verdict(hub_61: Hub, dav: WebDav, tmp_path: Path) -> None:
    name = f"{tmp_path.name}.html"
    [closed] = local_hub.free_ports(1)
    uploads = [
        to_dav(dav, "index.html", f"no-such-folder/{name}"),
        # A small file is sent at once. The server closes the connection when it refuses, and a large one could be cut.
        to_dav(dav, "history.json", name, password="wrong-password"),
        to_dav(dav, "index.html", name + "?of=nobody", ca_path=None),
        {"file": "index.html", "url": f"http://127.0.0.1:{closed}/hook/secret-path?key=secret-query"},
        to_dav(dav, "index.html", "."),
        to_dav(dav, "index.html", f"last-{name}"),
    ]
    hosts = {"one": member(hub_61), "two": member(hub_61)}
    done = play(tmp_path, hosts, uploads, "-vvvv")
    assert done.status == 2
    assert {host: recap["failed"] for host, recap in done.recap.items()} == {"one": 1, "two": 0}
    assert json.loads(written(tmp_path, "report.json"))["verdict"] == "passed"
    assert (dav.folder / f"last-{name}").read_text() == written(tmp_path, "index.html")
    place = dav.url.rstrip("/")
    answered, to_place = f"verify_uploads: {place} answered", f"verify_uploads: the PUT of index.html to {place} failed"
    assert last_line(done).endswith(f"report in verify-report, NOT SENT to http://127.0.0.1:{closed}, {place}")
    said = failure_of(done)
    for sentence in (
        "The verdict is passed (2 hubs: 2 passed). 5 of 6 uploads failed.",
        f"Item 1 of {answered} 409 Conflict to the PUT of index.html. Create the folder",
        f"Item 2 of {answered} 401 Unauthorized to the PUT of history.json. Check user and password",
        f"Item 3 of {to_place}, because the certificate of the server is not",
        f"Item 4 of verify_uploads: the PUT of index.html to http://127.0.0.1:{closed} failed, 4 times, because the",
        f"Item 5 of {answered} 405 Method Not Allowed to the PUT of index.html. Check that url ends",
    ):
        assert sentence in said
    secrets = [dav.password, basic(dav), "wrong-password", "secret-path", "secret-query", "of=nobody"]
    assert find_secrets(done, tmp_path, secrets) == []


def test_a_hub_and_an_upload_that_fail_are_both_named(hub_61: Hub, dav: WebDav, tmp_path: Path) -> None:
    hosts = {"one": member(hub_61, verify_expected_version="3"), "two": member(hub_61)}
    done = play(tmp_path, hosts, [to_dav(dav, "index.html", "no-such-folder/page.html")])
    assert done.status == 2
    said = failure_of(done)
    assert "is not verified, hub: " in said
    assert (
        "The verdict is failed (2 hubs: 1 failed, 1 passed). 1 of 1 uploads failed. Item 1 of verify_uploads:" in said
    )
    # A report of hubs that failed is sent, too.
    done = play(tmp_path, hosts, [to_dav(dav, "index.html", f"{tmp_path.name}.html")])
    assert done.status == 2
    assert (dav.folder / f"{tmp_path.name}.html").read_text() == written(tmp_path, "index.html")
    assert "uploads" not in failure_of(done)


def first(*statuses: int) -> Callable[[Request], Answer]:
    """Answer with these statuses, one after the other, and then with 201."""
    left = [*statuses]
    return lambda request: Answer(status=left.pop(0) if left else 201)


@pytest.mark.parametrize(
    ("method", "statuses", "sent", "status", "ansible"),
    [
        ("PUT", (503, 429, 502), 4, 0, "this ansible-core"),
        ("PUT", (503, 429, 502), 4, 0, "2.16"),
        ("PUT", (503,) * 9, 4, 2, "this ansible-core"),
        ("PUT", (503,) * 9, 4, 2, "2.16"),
        ("PUT", (500,), 1, 2, "this ansible-core"),
        ("POST", (503,), 1, 2, "this ansible-core"),
        ("POST", (), 1, 0, "this ansible-core"),
    ],
)
def test_a_put_is_repeated_while_the_server_is_busy(
    hub_61: Hub, tmp_path: Path, method: str, statuses: tuple[int, ...], sent: int, status: int, ansible: str
) -> None:
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    with misbehaving_hub(first(*statuses)) as fake:
        upload = {"file": "index.html", "url": f"{fake.url}hook/secret-path?a=secret-query", "method": method,
                  "headers": {"X-Key": "secret-header", "content-type": "text/html"}}  # fmt: skip
        done = play(tmp_path, {"hub": member(hub_61)}, [upload], "-vvvv", bin_folder=bin_folder)
    assert done.status == status, done.output
    assert done.recap["hub"]["ignored"] == 0
    assert [one.method for one in fake.requests] == [method] * sent
    assert {one.body.decode() for one in fake.requests} == {written(tmp_path, "index.html")}
    assert {(one.headers["x-key"], one.headers["content-type"]) for one in fake.requests} == {
        ("secret-header", "text/html")
    }
    assert find_secrets(done, tmp_path, ["secret-path", "secret-query", "secret-header"]) == []


def test_a_redirect_is_not_followed(hub_61: Hub, tmp_path: Path) -> None:
    """Otherwise another host would get the secrets of the headers."""
    with misbehaving_hub(lambda request: Answer()) as other, misbehaving_hub(redirect_to(other.url)) as fake:
        upload = {"file": "index.html", "url": fake.url, "user": "me", "password": "mine"}
        done = play(tmp_path, {"hub": member(hub_61)}, [upload])
    assert done.status == 2
    assert "answered 302 Found to the PUT of index.html. Set url to the address" in failure_of(done)
    assert (len(fake.requests), other.requests) == (1, [])


def test_an_error_of_s3_shows_its_code_only(hub_61: Hub, bucket: S3, tmp_path: Path) -> None:
    url = bucket.sign_put("page.html").replace("/reports/", "/no-such-bucket/")
    done = play(tmp_path, {"hub": member(hub_61)}, [{"file": "index.html", "url": url}])
    assert done.status == 2
    assert f"{bucket.url} answered 404 Not Found (NoSuchBucket) to the PUT" in failure_of(done)


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_a_lookup_that_fails_at_the_end_is_named(ansible: str, hub_61: Hub, tmp_path: Path) -> None:
    """For example one that asks for a new presigned URL. The check at the beginning has evaluated it, too."""
    (tmp_path / "url").write_text("https://127.0.0.1:9/secret-path")
    command = f"cd {tmp_path} && test ! -e verify-report/index.html && cat url"
    url = f"{{{{ lookup('ansible.builtin.pipe', '{command}') }}}}"
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    uploads = [{"file": "index.html", "url": url, "user": "me", "password": "secret-password"}]
    done = play(tmp_path, {"hub": member(hub_61)}, uploads, "-vvvv", bin_folder=bin_folder)
    assert done.status == 2
    assert last_line(done).endswith("report in verify-report, NOT SENT")
    assert "verify_uploads could be evaluated when the role began, but not any more" in failure_of(done)
    assert find_secrets(done, tmp_path, ["secret-path", "secret-password"]) == []


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_a_secret_of_a_lookup_is_no_template(ansible: str, hub_61: Hub, tmp_path: Path) -> None:
    header = "{{ lookup('ansible.builtin.env', 'KEY') }}"
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    with misbehaving_hub(lambda request: Answer()) as fake:
        upload = {"file": "index.html", "url": fake.url, "headers": {"X-Key": header}, "user": "me", "password": header}
        done = play(
            tmp_path, {"hub": member(hub_61)}, [upload], "-vvvv", env={"KEY": "a{{ 1/0 }}b{%"}, bin_folder=bin_folder
        )
    assert done.status == 0, done.output
    [request] = fake.requests
    assert request.headers["x-key"] == "a{{ 1/0 }}b{%"
    assert base64.b64decode(str(request.token).removeprefix("Basic ")).decode() == "me:a{{ 1/0 }}b{%"
    assert find_secrets(done, tmp_path, ["1/0"]) == []


# Nothing is sent


def test_check_mode_sends_nothing(hub_61: Hub, tmp_path: Path) -> None:
    with misbehaving_hub(lambda request: Answer()) as fake:
        done = play(tmp_path, {"hub": member(hub_61)}, [{"file": "index.html", "url": fake.url}], "--check")
        assert done.status == 0, done.output
    assert fake.requests == []
    assert " sent to " not in done.stdout


@pytest.mark.parametrize("arguments", [(), ("--check",)])
@pytest.mark.parametrize(
    ("uploads", "says"),
    [
        ("https://secret-path", "verify_uploads is not a list."),
        ([{"file": "page.html", "url": "https://a/secret-path"}], "Item 1 of verify_uploads: file is page.html."),
        ([{"file": "index.html", "url": "a/secret-path"}], "Item 1 of verify_uploads: url is no complete address."),
        ([{"file": "index.html", "url": "https://a", "pasword": "secret-path"}], "the key pasword is unknown"),
    ],
)
def test_wrong_uploads_fail_before_anything_starts(
    hub_61: Hub, tmp_path: Path, uploads: Any, says: str, arguments: tuple[str, ...]
) -> None:
    variables = member(hub_61, verify_checks=[{}])
    (tmp_path / "verify-report").mkdir()
    (tmp_path / "verify-report/report.json").write_text("{}")
    done = play(tmp_path, {"hub": variables}, uploads, "-vvvv", *arguments)
    assert done.status == 2
    assert says in done.stdout
    assert "Verify the hub" not in done.stdout
    assert "secret-path" not in done.output
    assert servers(hub_61, f"uploads{next(_numbers) - 1}") == {}


def test_a_server_that_does_not_answer_is_given_up(hub_61: Hub, tmp_path: Path) -> None:
    with misbehaving_hub(no_answer) as fake:
        done = play(tmp_path, {"hub": member(hub_61)}, [{"file": "index.html", "url": fake.url}], timeout=1)
    assert done.status == 2
    assert "failed, because it timed out. Check that this machine reaches the server" in failure_of(done)
    assert len(fake.requests) == 1


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_a_variable_without_a_value_is_named(ansible: str, hub_61: Hub, tmp_path: Path) -> None:
    """Ansible would show the lines of the inventory around it, and thus a password."""
    upload = {"file": "index.html", "password": "secret-1", "url": "https://a/{{ no_value }}", "user": "me"}
    hosts = {"hub": member(hub_61, verify_uploads=[upload])}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    done = run_playbook(VERIFY, "-vvvv", "-i", str(tmp_path / "hosts.yml"), folder=tmp_path, bin_folder=bin_folder)
    assert done.status == 2
    assert "verify_uploads cannot be evaluated: 'no_value' is undefined. Look at its variables" in done.stdout
    assert "Verify the hub" not in done.stdout
    assert "secret-1" not in done.output


# In a play of somebody who uses the role, Ansible validates the variables first


@pytest.mark.parametrize("ansible", ["this ansible-core", "2.16"])
def test_the_role_in_a_play_sends_and_shows_no_secret(ansible: str, hub_61: Hub, tmp_path: Path) -> None:
    playbook = tmp_path / "playbook.json"
    keywords = {"hosts": "all", "connection": "local", "gather_facts": False}
    playbook.write_text(json.dumps([{**keywords, "roles": [VERIFY]}]))
    bin_folder = oldest_ansible_bin() if ansible == "2.16" else None
    upload = {"file": "index.html", "user": "me", "password": "secret-1", "headers": {"X-Key": "secret-2"}}
    with misbehaving_hub(lambda request: Answer()) as fake:
        upload["url"] = f"{fake.url}secret-3"
        for more, status in (({}, 0), ({"methd": "POST"}, 2), ({"file": "page.html"}, 2), ({"headers": "secret-2"}, 2)):
            uploads = [{**upload, **more}]
            done = play(tmp_path, {"hub": member(hub_61)}, uploads, "-vvvv", playbook=playbook, bin_folder=bin_folder)
            assert done.status == status, done.output
            assert "verify_uploads" in done.stdout or not more
            assert [secret for secret in ("secret-1", "secret-2", "secret-3") if secret in done.output] == []
    assert [request.path for request in fake.requests] == ["/secret-3"]
