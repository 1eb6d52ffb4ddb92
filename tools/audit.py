# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks for known vulnerabilities of the packages in all lock files, with pip-audit and npm audit.

A package for which a registry has no answer counts: the audit ends with a status of its own. pip-audit only mentions
such a package, and ends well.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROXY = ROOT / "roles/local_hub/files"
VULNERABLE, UNKNOWN = 1, 2
"""Statuses. A vulnerability that is found counts more than a registry that does not answer."""


def read_pip_audit(report: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the vulnerabilities in a report of pip-audit, and the packages that it could not look up."""
    found, unknown = [], []
    for package in report["dependencies"]:
        if "skip_reason" in package:
            unknown.append(package["name"])
        for each in package.get("vulns", []):
            fixed = f", fixed in {', '.join(each['fix_versions'])}" if each["fix_versions"] else ""
            found.append(f"{package['name']} {package['version']}: {each['id']}{fixed}")
    return found, unknown


def read_npm_audit(report: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the same of a report of npm audit, which has no vulnerabilities if the registry did not answer."""
    if "vulnerabilities" not in report:
        reason = report.get("message") or report.get("error", {}).get("summary") or "no answer"
        return [], [f"all packages of the proxy ({reason})"]
    return [f"{name}: {each['severity']}" for name, each in report["vulnerabilities"].items()], []


def status_of(found: list[str], unknown: list[str]) -> int:
    if found:
        return VULNERABLE
    return UNKNOWN if unknown else 0


def shorten(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def read_report(command: list[str], folder: Path) -> Any:
    """Return the JSON that a program prints, or an empty dictionary if it prints none."""
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    try:
        return json.loads(done.stdout)
    except ValueError:
        print(done.stderr.strip()[-2000:], file=sys.stderr)
        return {}


def audit_python(lock: Path) -> tuple[list[str], list[str]]:
    program = str(Path(sys.executable).with_name("pip-audit"))
    command = [
        program,
        "--disable-pip",
        "--require-hashes",
        "--format",
        "json",
        "--progress-spinner",
        "off",
        "-r",
        str(lock),
    ]
    report = read_report(command, ROOT)
    return read_pip_audit(report) if report else ([], ["all packages"])


def audit_proxy() -> tuple[list[str], list[str]]:
    if not shutil.which("npm"):
        return [], ["all packages of the proxy (npm is not installed)"]
    return read_npm_audit(read_report(["npm", "audit", "--package-lock-only", "--json"], PROXY))


def main() -> int:
    found, unknown = list[str](), list[str]()
    locks = [
        *sorted(ROOT.glob("requirements/*.txt")),
        *sorted(PROXY.glob("requirements-*.txt")),
        PROXY / "package-lock.json",
    ]
    for lock in locks:
        name = str(lock.relative_to(ROOT))
        bad, missing = audit_python(lock) if lock.suffix == ".txt" else audit_proxy()
        for text in bad:
            print(f"{name}: {text}")
        print(
            f"{name}: {len(bad)} vulnerabilities{', no answer for ' + shorten(missing) if missing else ''}", flush=True
        )
        found += bad
        unknown += [name] * bool(missing)
    if found:
        print(f"{len(found)} vulnerabilities: update the packages with UPGRADE=1 make lock.")
    if unknown:
        print(f"The audit is incomplete: a registry did not answer for packages of {len(unknown)} lock files.")
    return status_of(found, unknown)


if __name__ == "__main__":
    sys.exit(main())
