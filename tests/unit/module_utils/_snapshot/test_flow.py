# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flows of hub_snapshot and hub_compare, without a hub. test_hub_snapshot.py has the tests with real hubs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._drain.record import Entry, Record
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import Invalid
from ansible_collections.hubops.jupyterhub.plugins.module_utils._path.plan import run
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot import flow
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.flow import (
    CompareFlow,
    CompareSpec,
    SnapshotFlow,
    SnapshotSpec,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.snapshot_file import (
    read_snapshot,
    write_snapshot,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.verification import Slower
from support.fakes.scripted_hub import TOKEN
from support.runner import run_in_process
from support.snapshots import LATER, LOSSES, Content, changed, content, everything, snapshot, verification

HUB: Any = SimpleNamespace(connection=SimpleNamespace(api_token=TOKEN))
"""Takes the place of a hub's client. `read_everything` is replaced, so nothing else of it is used."""


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> Content:
    """What the hub has at the moment. A test may change it."""
    found = content()
    monkeypatch.setattr(flow, "read_everything", lambda hub: everything(found))
    return found


def take(path: Path, *, check_mode: bool = False, **more: Any) -> dict[str, Any]:
    return run(SnapshotFlow(HUB, SnapshotSpec(str(path), **more), print), check_mode=check_mode)


def compare(before: Path, **more: Any) -> dict[str, Any]:
    options = {name: str(value) if isinstance(value, Path) else value for name, value in more.items()}
    spec = CompareSpec(str(before), **options)
    found = run(CompareFlow(HUB, spec, print), check_mode=False)
    assert (found["changed"], found["actions"], found["diff"]) == (False, [], {"before": {}, "after": {}})
    return found


def test_a_snapshot_is_written(present: Content, tmp_path: Path) -> None:
    path = tmp_path / "new" / "one.json"
    result = take(path, verification=verification())
    assert result["changed"] is True
    assert result["path"] == str(path)
    assert (result["counts"]["users"], result["unreadable"], result["hub"]["version"]) == (3, [], "5.5.3")
    assert [(each["verb"], each["why"]) for each in result["actions"]] == [("write", "there is none yet")]
    written = read_snapshot(str(path))
    assert written.verification == verification()
    assert written.users == present["users"]
    assert take(path)["actions"][0]["why"] == "it is replaced"


def test_check_mode_reads_and_writes_nothing(present: Content, tmp_path: Path) -> None:
    checked = take(tmp_path / "new" / "one.json", check_mode=True)
    assert os.listdir(tmp_path) == []
    done = take(tmp_path / "new" / "one.json")
    assert {name: checked[name] for name in done} == done


def test_a_path_that_cannot_be_written_is_told_before_the_hub_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(flow, "read_everything")
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "one.json", tmp_path / ("n" * 300)):
        for check_mode in (False, True):
            with pytest.raises(Invalid):
                take(path, check_mode=check_mode)


def test_the_task_s_own_token_is_in_no_snapshot(present: Content, tmp_path: Path) -> None:
    present["servers"]["alice"][""]["user_options"] = {"environment": {"TOKEN": TOKEN}}
    take(tmp_path / "one.json")
    assert TOKEN not in (tmp_path / "one.json").read_text()
    # What is masked in the file is masked in the hub's answer, too, so it is no difference.
    found = compare(tmp_path / "one.json")
    assert (found["differences"], TOKEN in str(found)) == ([], False)


def test_the_hub_as_it_is_now_is_compared_with_the_newest_snapshot(present: Content, tmp_path: Path) -> None:
    write_snapshot(str(tmp_path / "old.json"), snapshot(taken="2026-01-01T00:00:00Z", users={}))
    write_snapshot(str(tmp_path / "new.json"), snapshot())
    found = compare(tmp_path, verification=verification())
    assert found["before"] == {
        "path": str(tmp_path / "new.json"), "taken": "2026-11-26T18:00:00Z", "url": "https://hub.example.org/",
        "version": "5.5.3",
    }  # fmt: skip
    assert found["after"].keys() == found["before"].keys()
    assert found["after"]["path"] is None
    # The token that was to expire on that day is still there.
    assert (found["differences"], found["not_compared"]) == ([], [])
    assert [start["check"] for start in found["starts"]] == ["lab"]
    expected = LOSSES["a_membership"](present)
    found = compare(tmp_path / "new.json")
    assert [tuple(each[key] for key in ("severity", "kind", "name", "field")) for each in found["differences"]] == [
        expected
    ]
    assert found["counts"] == {"lost": 1, "changed": 0, "new": 0}
    assert found["not_compared"][0]["name"] == "verification"
    assert any(line.startswith("lost: User 'alice'") for line in found["summary"])


def test_two_snapshots_are_compared_without_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JUPYTERHUB_URL", "JUPYTERHUB_API_URL", "JUPYTERHUB_PUBLIC_HUB_URL"):
        monkeypatch.delenv(name, raising=False)
    before, after, (severity, *_what) = changed(LOSSES["a_group"])
    write_snapshot(str(tmp_path / "before.json"), snapshot(before))
    write_snapshot(str(tmp_path / "after" / "after.json"), snapshot(after))
    options = {"before": str(tmp_path / "before.json"), "after": str(tmp_path / "after")}
    result = run_in_process({"hubops.jupyterhub.hub_compare": options})
    assert not result["failed"], result
    assert (result["after"]["path"], result["after"]["taken"]) == (str(tmp_path / "after" / "after.json"), LATER)
    assert [each["severity"] for each in result["differences"]] == [severity]
    del options["after"]
    assert "hub_url is missing" in run_in_process({"hubops.jupyterhub.hub_compare": options})["msg"]


def test_snapshots_that_cannot_show_a_loss(tmp_path: Path) -> None:
    before, after, _expected = changed(LOSSES["a_group"])
    write_snapshot(str(tmp_path / "before.json"), snapshot(before))
    write_snapshot(str(tmp_path / "after.json"), snapshot(after))
    # The newest snapshot of the folder is the one that was taken after the upgrade.
    with pytest.raises(Invalid, match=r"before and after are the same snapshot, '.*after\.json'"):
        compare(tmp_path, after=tmp_path / "after.json")
    swapped = compare(tmp_path / "after.json", after=tmp_path / "before.json")
    assert swapped["not_compared"][0]["name"] == "order"
    assert "was taken at 2026-11-26T18:00:00Z, earlier than" in swapped["summary"][-1]
    assert compare(tmp_path / "before.json", after=tmp_path / "after.json")["counts"]["lost"] == 1
    # Somebody who names one file twice is not mistaken.
    itself = compare(tmp_path / "before.json", after=tmp_path / "before.json")
    assert (itself["differences"], itself["not_compared"]) == ([], [])


def test_values_that_are_secrets_by_their_names_are_not_shown(tmp_path: Path) -> None:
    """They differ all the same."""
    before, after = content(), content()
    before["servers"]["alice"]["lab"]["user_options"] = {"db_password": "hunter2", "env": {"API_TOKEN": "one", "n": 1}}
    after["servers"]["alice"]["lab"]["user_options"] = {"db_password": "hunter3", "env": {"API_TOKEN": "two", "n": 1}}
    for name, each in (("before", before), ("after", after)):
        write_snapshot(str(tmp_path / f"{name}.json"), snapshot(each))
    result = compare(tmp_path / "before.json", after=tmp_path / "after.json")
    stars = "*" * 8
    assert [(each["field"], each["before"], each["after"]) for each in result["differences"]] == [
        ("db_password", stars, stars), ("env", {"API_TOKEN": stars, "n": 1}, {"API_TOKEN": stars, "n": 1}),
    ]  # fmt: skip
    assert not any(word in json.dumps(result) for word in ("hunter", '"one"', "two"))


def test_the_verification_of_the_task_counts_more_than_that_of_the_snapshot(tmp_path: Path) -> None:
    write_snapshot(str(tmp_path / "before.json"), snapshot())
    write_snapshot(str(tmp_path / "after.json"), snapshot())
    slow = verification()
    slow["checks"][0]["phases"][0]["seconds"] = 50
    pair = {"before": tmp_path / "before.json", "after": tmp_path / "after.json"}
    assert compare(**pair)["differences"] == []
    assert [each["kind"] for each in compare(**pair, verification=slow)["differences"]] == ["start_time"]
    assert compare(**pair, verification=slow, slower=Slower(0.25, 60))["differences"] == []


def test_a_drain_s_record_is_read_if_there_is_one(tmp_path: Path) -> None:
    before, after, (_lost, _kind, name, _field) = changed(LOSSES["a_server_that_runs"])
    for file, found in (("before", before), ("after", after)):
        write_snapshot(str(tmp_path / f"{file}.json"), snapshot(found))
    pair = {"before": tmp_path / "before.json", "after": tmp_path / "after.json", "drained": tmp_path / "drained.json"}
    assert compare(**pair)["counts"] == {"lost": 1, "changed": 0, "new": 0}
    entry = Entry(name, "", state="stopped", restore="pending")
    (tmp_path / "drained.json").write_text(Record("", "", "", {entry.key: entry}).dump())
    assert compare(**pair)["counts"] == {"lost": 0, "changed": 1, "new": 0}
    assert compare(**pair)["servers"]["drained"] == [name]
    (tmp_path / "drained.json").write_text("{}")
    with pytest.raises(Invalid, match=r"drained\.json' is not the record of a drain"):
        compare(**pair)


def test_a_file_that_is_ignored_is_named(present: Content, tmp_path: Path) -> None:
    write_snapshot(str(tmp_path / "a.json"), snapshot())
    (tmp_path / "b.json").touch()
    assert str(tmp_path / "b.json") in [each["name"] for each in compare(tmp_path)["not_compared"]]


@pytest.mark.parametrize(
    ("share", "seconds"), [(-0.1, 2), (0.25, -1), (float("nan"), 2), (0.25, float("nan")), (float("inf"), 1)]
)
def test_amounts_that_are_none(share: float, seconds: float) -> None:
    with pytest.raises(Invalid, match="slower_share and slower_seconds"):
        Slower(share, seconds)


def test_a_result_is_json(present: Content, tmp_path: Path) -> None:
    write_snapshot(str(tmp_path / "a.json"), snapshot(groups={}))
    json.dumps(compare(tmp_path))
    assert asdict(CompareSpec("x"))
