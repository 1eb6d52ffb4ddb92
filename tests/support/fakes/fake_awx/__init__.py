# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in of the REST API of AWX, with resources in memory, which records the requests that it gets.

with FakeAwx() as awx:
    ...  # awx.url and awx.token are for CONTROLLER_HOST and CONTROLLER_OAUTH_TOKEN; awx.username and awx.password
    awx.items("job_templates")  # as AWX shows them, without secrets
    awx.stored("credentials", "hub")["inputs"]["token"]  # what AWX shows to nobody
    awx.linked("job_templates", "verify", "credentials")  # the names of the associated items
    awx.writes  # such as ["POST projects", "PATCH job_templates/7"]

It is for tests of a role that configures AWX with the collection awx.awx. It creates, shows, filters, associates and
deletes as AWX 24.6.1 does, and refuses with AWX's words. tests/integration/support/test_fake_awx.py runs the modules of
awx.awx against it, or against a real AWX. It runs no jobs: the update of a project or an inventory source has ended, as
`awx.update_status` says, by the time that its start is answered.

`resources` is a table of AWX's resources. `store` and `api` treat all of them alike, and `rules` has the exceptions.
"""

from __future__ import annotations

from support.fakes.fake_awx.api import FakeAwx, Request

__all__ = ["FakeAwx", "Request"]
