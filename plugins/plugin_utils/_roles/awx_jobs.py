# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role awx knows of the playbooks: their job templates, their surveys, and the workflow of an upgrade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Question:
    """A question of a survey. ``default`` counts if the job template sets no value for the variable."""

    variable: str
    name: str
    description: str
    default: str | list[str]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Playbook:
    """The job template of a playbook.

    ``paths`` are the variables for paths that must outlive a job, and what each is below the shared folder.
    ``sliced`` replace them if the template has slices. ``needs_shared`` says that the playbook has no use
    without a shared folder.
    """

    name: str
    description: str
    questions: tuple[Question, ...] = ()
    paths: Mapping[str, Any] = field(default_factory=dict)
    sliced: Mapping[str, Any] = field(default_factory=dict)
    needs_shared: bool = False

    def list_paths(self, shared: str, slices: int) -> dict[str, Any]:
        """Return the variables for the paths below the shared folder, none if there is no such folder."""
        paths = (self.sliced if slices > 1 and self.sliced else self.paths) if shared else {}

        def below(path: Any) -> Any:
            return [below(each) for each in path] if isinstance(path, list) else f"{shared}/{path}"

        return {variable: below(path) for variable, path in paths.items()}


_VERIFY_REPORT = {"upgrade_verify_report": "verify-report/report.json"}
_UPGRADE = {"upgrade_dir": "snapshots", **_VERIFY_REPORT}

PLAYBOOKS: dict[str, Playbook] = {
    "verify": Playbook(
        "Verify",
        "Starts servers on each hub, proves what works in them, and stops them",
        (
            Question(
                "verify_expected_version", "Version of JupyterHub",
                "The verification fails if a hub runs another version. If this is empty, each version is right.", "",
            ),
        ),
        {"verify_report_dir": "verify-report"},
        # The inventory derives verify_report_dir from it. The playbook merge_reports reads the reports of all slices.
        {"jupyterhub_slices_dir": "verify-slices"},
    ),
    "merge_reports": Playbook(
        "Merge reports",
        "Makes one report of the reports of a verification in slices",
        paths={"verify_report_dir": "verify-report", "verify_reports": ["verify-slices/*/report.json"]},
        needs_shared=True,
    ),
    "service_account": Playbook("Create service accounts", "Creates users for programs, and mints their tokens"),
    "rotate_tokens": Playbook("Rotate tokens", "Renews the tokens of service accounts that expire soon"),
    "cull": Playbook(
        "Cull",
        "Stops idle servers",
        (
            Question(
                "idle_culler_idle_timeout", "Idle time",
                "A server stops if nobody has used it for this long, for example 90m or 12h.", "1h",
            ),
        ),
    ),
    "snapshot": Playbook("Snapshot", "Writes what each hub has into a file", paths=_UPGRADE, needs_shared=True),
    "drain": Playbook(
        "Drain",
        "Stops what runs on each hub, and records it",
        (
            Question(
                "upgrade_idle_timeout", "Idle time",
                "Only servers that nobody has used for this long stop. 0 stops all servers.", "0",
            ),
            Question(
                "upgrade_max_stops", "Limit",
                "At most this many servers of each hub stop. If this is empty, there is no limit.", "",
            ),
        ),
        _UPGRADE,
        needs_shared=True,
    ),
    "compare": Playbook(
        "Compare",
        "Says what each hub has lost since its last snapshot",
        (
            Question(
                "upgrade_fail_on", "Fail on", "The job fails if a hub has a difference of one of these severities.",
                ["lost"], ("lost", "changed", "new"),
            ),
        ),
        {**_UPGRADE, "upgrade_report_dir": "upgrade-report"},
        needs_shared=True,
    ),
    "restore": Playbook(
        "Restore", "Starts the servers again that a drain has stopped", paths=_UPGRADE, needs_shared=True,
    ),
}  # fmt: skip
"""The playbooks of the collection that a job template can name."""


def make_survey(playbook: Playbook, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return the survey of a playbook. A default is the value that the job template gives the variable, if it does.

    AWX lets a survey's default win over the variables of the template.
    """
    questions = []
    for question in playbook.questions:
        default = variables.get(question.variable, question.default)
        questions.append(
            {
                "variable": question.variable,
                "question_name": question.name,
                "question_description": question.description,
                "type": "multiselect" if question.choices else "text",
                "choices": [*question.choices],
                "default": "\n".join(default) if isinstance(default, list | tuple) else str(default),
                "required": False,
            }
        )
    return {"name": playbook.name, "description": playbook.description, "spec": questions}


# The workflow of an upgrade


@dataclass(frozen=True)
class Node:
    """A call of the module workflow_job_template_node. ``children`` are the nodes that it leads to."""

    label: str
    options: Mapping[str, Any]
    children: tuple[str, ...] = ()


def make_nodes(templates: Mapping[str, str], approval: Mapping[str, Any]) -> list[Node]:
    """Return the nodes of the workflow, each after the nodes that it leads to.

    ``templates`` has the names of the job templates by their playbooks. ``approval`` has the ``name``, ``description``
    and ``timeout`` (in seconds) of the approval.

    A person approves when the hub is upgraded. If nobody approves in time, or a person denies, the servers come back
    without a verification. If the verification fails, the comparison still says what is lost, and no server starts.
    """
    question = {
        "name": "The hub is upgraded",
        "description": "Upgrade the hub, and approve when it runs again. If you deny, the drained servers start again.",
        "timeout": 0,
        **approval,
    }

    def job(identifier: str, playbook: str, **more: Any) -> Node:
        links = tuple(
            child for key in ("success_nodes", "failure_nodes", "always_nodes") for child in more.get(key, ())
        )
        return Node(identifier, {"identifier": identifier, "unified_job_template": templates[playbook], **more}, links)

    return [
        # All of its parents must have led to it.
        job("restore", "restore", all_parents_must_converge=True),
        job("restore without upgrade", "restore"),
        job("compare", "compare", success_nodes=["restore"]),
        job("verify", "verify", always_nodes=["compare"], success_nodes=["restore"]),
        # awx.awx looks for the links of an approval at a wrong address, so a second call sets them.
        Node("approval", {"identifier": "approval", "approval_node": question}),
        Node(
            "links of approval",
            {"identifier": "approval", "success_nodes": ["verify"], "failure_nodes": ["restore without upgrade"]},
            ("approval", "verify", "restore without upgrade"),
        ),
        job("drain", "drain", success_nodes=["approval"]),
        job("snapshot", "snapshot", success_nodes=["drain"]),
    ]
