# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake of the lookup kubernetes.core.k8s, which returns what the fake of the module with this name has recorded."""

from __future__ import annotations

import json
import os
from pathlib import Path

import yaml
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    def run(self, terms, variables=None, **kwargs):
        path = Path(os.environ["RECORDED_KUBERNETES"])
        calls = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        applied = [call["definition"] for call in calls if not call["check_mode"]]
        objects = [yaml.safe_load(each) if isinstance(each, str) else each for each in applied]
        wanted = (kwargs["kind"], kwargs["namespace"], kwargs["resource_name"])
        names = [(each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]) for each in objects]
        return [each for each, name in zip(objects, names, strict=True) if name == wanted][-1:]
