# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code that a Python kernel runs to say what its server has: packages, paths and resources.

The code runs on Python 3.6 and newer, uses only the standard library, and leaves no name behind.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from .._hub.responses import parse_json

MARK = "hubops-jupyterhub-probe:"
"""Begins the line with the answer."""

PROBE = r'''
def _hubops_probe(packages, paths, disk, with_resources, with_gpus, root="/"):
    import json, os, shutil, stat, subprocess, sys, tempfile

    def read(path):
        try:
            with open(path) as file:
                return file.read().strip()
        except (OSError, ValueError):
            return ""

    def list_groups():
        """Yield the folders of this process's control groups, with their controller ("" is version 2)."""
        base = os.path.join(root, "sys/fs/cgroup")
        for line in read(os.path.join(root, "proc/self/cgroup")).splitlines():
            _number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
            # The limits of all groups above count, too. In a container the path may be that on its host, and the
            # container's own group is the root.
            parts = [part for part in path.split("/") if part not in ("", ".", "..")]
            for controller in controllers.split(","):
                for folder in {controller, controllers} if controller else ("", "unified"):
                    for size in range(len(parts) + 1):
                        yield controller, os.path.join(base, folder, *parts[:size])

    def read_numbers(controller, file):
        """Yield the numbers in these files of all groups. Each item is the list of the words in a file."""
        for found, folder in list_groups():
            words = read(os.path.join(folder, file)).split() if found == controller else []
            if words and words[0].isdigit():
                yield folder, [int(word) for word in words if word.isdigit()]

    def measure_memory():
        limits = [words[0] for _folder, words in read_numbers("", "memory.max")]
        limits += [words[0] for _folder, words in read_numbers("memory", "memory.limit_in_bytes")]
        for line in read(os.path.join(root, "proc/meminfo")).splitlines():
            if line.startswith("MemTotal:"):
                limits.append(int(line.split()[1]) * 1024)
        try:
            import resource

            limits += [limit for limit in [resource.getrlimit(resource.RLIMIT_AS)[0]] if limit >= 0]
        except (ImportError, OSError, ValueError):
            pass
        return min(limits) if limits else None

    def count_cpus():
        try:
            limits = [float(len(os.sched_getaffinity(0)))]
        except (AttributeError, OSError):
            limits = [float(os.cpu_count() or 0)]
        for _folder, words in read_numbers("", "cpu.max"):
            limits += [words[0] / words[1]] if len(words) == 2 and words[1] else []
        for folder, words in read_numbers("cpu", "cpu.cfs_quota_us"):
            period = read(os.path.join(folder, "cpu.cfs_period_us"))
            limits += [words[0] / int(period)] if period.isdigit() and int(period) else []
        return min(limits)

    def count_gpus():
        program = shutil.which("nvidia-smi")
        if program is None:
            return 0
        try:
            done = subprocess.run(
                [program, "-L"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20
            )
        except (OSError, subprocess.SubprocessError) as error:
            return "nvidia-smi failed: " + str(error)[:300]
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode:
            return "nvidia-smi failed: " + " ".join(text.split())[:300]
        count = sum(line.startswith("GPU ") for line in text.splitlines())
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            names = [name.strip() for name in visible.split(",")]
            count = min(count, sum(name not in ("", "-1", "NoDevFiles") for name in names))
        return count

    def measure_disk():
        try:
            return shutil.disk_usage(expand(disk)).free
        except OSError as error:
            return error.strerror or str(error)

    def normalize(name):
        return "-".join(part for part in str(name).lower().replace("_", "-").replace(".", "-").split("-") if part)

    def find_versions(names):
        if not names:
            return {}
        try:
            from importlib import metadata
        except ImportError:  # Python 3.7 and older
            try:
                import importlib_metadata as metadata
            except ImportError:
                import pkg_resources

                found = {normalize(each.project_name): each.version for each in pkg_resources.WorkingSet()}
                return {name: found.get(normalize(name)) for name in names}
        versions, missing = {}, []
        for name in names:
            try:
                versions[name] = str(metadata.version(name) or "unknown")
            except Exception:
                versions[name] = None
                missing.append(name)
        # Another spelling of the name, which not all versions of Python find.
        for each in metadata.distributions() if missing else ():
            try:
                other, version = normalize(each.metadata["Name"]), str(each.version or "unknown")
            except Exception:
                continue
            for name in missing:
                if normalize(name) == other and versions[name] is None:
                    versions[name] = version
        return versions

    def expand(path):
        return os.path.expandvars(os.path.expanduser(path))

    def look_at(path, writable):
        full = expand(path)
        found = {"path": path, "exists": True, "problem": None}
        try:
            mode = os.stat(full).st_mode
            if writable and stat.S_ISDIR(mode):
                # Only writing shows a disk that is full, or a quota.
                with tempfile.NamedTemporaryFile(dir=full, prefix=".hubops-verify-") as file:
                    file.write(b"x" * 4096)
                    file.flush()
                    os.fsync(file.fileno())
            elif writable and stat.S_ISREG(mode):
                with open(full, "ab"):
                    pass
            elif writable and not os.access(full, os.W_OK):
                found["problem"] = "no permission to write"
        except FileNotFoundError as error:
            # Also a folder that vanishes while it is written to.
            found["exists"], found["problem"] = os.path.lexists(full), error.strerror
        except OSError as error:
            found["exists"], found["problem"] = os.path.exists(full), error.strerror or str(error)
        except ValueError as error:  # a zero byte
            found["exists"], found["problem"] = False, str(error)
        return found

    answer = {
        "python": sys.version.split()[0],
        "packages": find_versions(packages),
        "paths": [look_at(path, writable) for path, writable in paths],
    }
    if with_resources:
        answer["resources"] = {
            "memory": measure_memory(),
            "disk": measure_disk(),
            "cpus": count_cpus(),
            "gpus": count_gpus() if with_gpus else None,
        }
    print("\nMARK" + json.dumps(answer))
'''


def build_probe(
    packages: Sequence[str],
    paths: Sequence[tuple[str, bool]],
    disk: str,
    *,
    with_resources: bool,
    with_gpus: bool,
    root: str = "/",
) -> str:
    """Return the code that asks for these packages and paths, and for the resources.

    A path is given with whether it must be writable. ``disk`` is a path on the disk whose free space counts. The GPUs
    are asked for separately, because the driver's program may take long. ``root`` is where /proc and /sys are.
    """
    values = [list(packages), [list(path) for path in paths], disk, with_resources, with_gpus, root]
    # JSON within JSON has only characters that mean the same in Python, whatever the values are.
    text = json.dumps(json.dumps(values))
    call = f"    _hubops_probe(*__import__('json').loads({text}))\nfinally:\n    del _hubops_probe\n"
    return PROBE.replace("MARK", MARK) + "\n\ntry:\n" + call


def parse_answer(stdout: str) -> dict[str, Any] | None:
    """Return the answer in what the code has written, or None if there is none."""
    for line in stdout.splitlines():
        if line.startswith(MARK):
            try:
                found = parse_json(line[len(MARK) :])
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None
