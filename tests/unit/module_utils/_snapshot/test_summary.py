# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.comparison import compare_snapshots
from ansible_collections.hubops.jupyterhub.plugins.module_utils._snapshot.summary import summarize
from support.snapshots import LATER, LOSSES, Content, changed, content, hide, snapshot


def summary(before: Content, after: Content) -> list[str]:
    first, second = snapshot(before), snapshot(after)
    return summarize(first, second, compare_snapshots(first, second))


def test_nothing_is_different() -> None:
    assert summary(content(), content() | {"taken": LATER}) == [
        "before: JupyterHub 5.5.3 at https://hub.example.org/, 2026-11-26T18:00:00Z",
        "after: JupyterHub 5.5.3 at https://hub.example.org/, 2026-11-26T20:00:00Z",
        "servers that ran before: 2, of them 2 survived",
        "lost: nothing",
        "changed: nothing",
        "new: nothing",
    ]


def test_what_is_lost_is_named() -> None:
    before, after, _expected = changed(LOSSES["a_property"])
    after["users"]["dora"] = before["users"]["carol"]
    after["users"]["erin"] = before["users"]["carol"]
    after["reader"] = {"kind": "user", "name": "root\x1b[2J", "scopes": []}
    after["servers"]["bob"]["gpu"] |= {"ready": False}
    hide(before, "tokens")
    assert summary(before, after)[2:] == [
        "read with another token: before that of service admin, after that of user root\\x1b[2J",
        "servers that ran before: 2, of them 1 survived, 1 stopped",
        "lost: 1 property, 1 server",
        "changed: nothing",
        "new: 2 users",
        "lost: Group 'staff': the property 'shared' is gone; it was {\"a\": [1]}.",
        "lost: Server 'gpu' of user 'bob' ran and does not run now.",
        "not compared: Only the second snapshot could read all of 'tokens'; that needs read:it.",
    ]


def test_a_long_list_is_cut_off() -> None:
    before = content()
    before["users"] |= {f"u{number:03}": before["users"]["carol"] for number in range(100)}
    lines = summary(before, content())
    assert "lost: 100 users" in lines
    assert "lost: User 'u019' is gone." in lines
    assert lines[-1] == "lost: 80 more"
