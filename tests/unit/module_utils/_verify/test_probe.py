# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""_verify.probe and _verify.probe_code: what a server has, and whether it is enough. The code runs in real Pythons."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.hubops.jupyterhub.plugins.module_utils._hub.errors import (
    HubError,
    HubFailure,
    Invalid,
    KernelFailed,
    Timeout,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify import probe as probes
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.phases import Finding
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.probe import (
    Package,
    Probe,
    Resources,
    WantedPath,
    parse_size,
    prove_packages,
    prove_paths,
    prove_resources,
    show_size,
    version_problem,
)
from ansible_collections.hubops.jupyterhub.plugins.module_utils._verify.probe_code import (
    MARK,
    build_probe,
    parse_answer,
)

GIGABYTE = 1 << 30
PYTHONS = ["3.6", "3.7", "3.8", "3.9", "3.10", "3.12", "3.13", "this one"]
"""3.6 is the oldest Python that the code must run on."""


def find_python(version: str) -> str | None:
    """A Python of this version, if this machine has one on its PATH or from pyenv."""
    if version == "this one":
        return sys.executable
    candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for path in filter(None, candidates):
        # A command of pyenv exists for versions that are not chosen, too.
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return str(path)
    return None


def run_python(code: str, python: str = sys.executable, **environment: str) -> Any:
    done = subprocess.run(
        [python, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return SimpleNamespace(stdout=done.stdout, error=done.stderr.splitlines()[-1] if done.returncode else None)


def ask(
    packages: Sequence[str] = (),
    paths: Sequence[tuple[str, bool]] = (),
    disk: str = "/",
    gpus: bool = False,
    root: str = "/",
    **environment: str,
) -> dict[str, Any]:
    """What the code answers in this Python."""
    code = build_probe(packages, paths, disk, with_resources=True, with_gpus=gpus, root=root)
    output = run_python(code, **environment)
    assert output.error is None
    found = parse_answer(output.stdout)
    assert found is not None
    return found


def test_the_code_is_in_the_grammar_of_the_oldest_python() -> None:
    ast.parse(build_probe(["pip"], [("~", True)], "~", with_resources=True, with_gpus=True), feature_version=(3, 6))


@pytest.mark.parametrize("python", list(filter(None, map(find_python, PYTHONS))))
def test_the_code_runs_on_each_python_of_this_machine_and_leaves_no_name(python: str, tmp_path: Path) -> None:
    paths = [("~", True), ("/no/ü", False)]
    code = build_probe(["pip", "no-such-thing"], paths, "~", with_resources=True, with_gpus=True)
    before = "before = None\nbefore = set(globals())\n"
    after = "\nassert set(globals()) == before, set(globals()) - before\nimport sys\nassert sys.stdout.write('end\\n')"
    output = run_python(before + code + after, python, HOME=str(tmp_path), PYTHONIOENCODING="ascii")
    assert (output.error, output.stdout.splitlines()[-1]) == (None, "end")
    found = parse_answer(output.stdout)
    assert found
    assert found["packages"].keys() == {"pip", "no-such-thing"}
    assert found["packages"]["pip"]
    assert found["packages"]["no-such-thing"] is None
    assert [path["exists"] for path in found["paths"]] == [True, False]
    assert found["resources"]["memory"] > 1 << 20
    assert found["resources"]["disk"] > 0
    assert found["resources"]["cpus"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_code_leaves_no_name_if_it_raises() -> None:
    code = build_probe([], [], "~", with_resources=False, with_gpus=False).replace("json.dumps(answer)", "1 / 0")
    output = run_python(
        f"try:\n    exec({code!r})\nexcept ZeroDivisionError:\n    assert '_hubops_probe' not in globals()"
    )
    assert output.error is None


def test_names_of_packages_in_any_spelling(tmp_path: Path) -> None:
    folder = tmp_path / "Zope.Odd_Name-1.5.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: Zope.Odd_Name\nVersion: 1.5\n")
    (tmp_path / "broken-1.dist-info").mkdir()
    names = ["zope-odd-name", "ZOPE_ODD.NAME", "zope.odd-name", "broken"]
    found = ask(packages=names, PYTHONPATH=str(tmp_path))["packages"]
    assert [found[name] for name in names[:3]] == ["1.5"] * 3
    assert found["broken"] in (None, "unknown")


def cgroups(root: Path, membership: str, files: dict[str, str], memory: int = 64 * GIGABYTE) -> str:
    """A fake of /proc and /sys."""
    files = {
        "proc/self/cgroup": membership,
        "proc/meminfo": f"MemTotal:       {memory >> 10} kB\nMemFree: 1 kB\n",
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


V1 = "5:memory:/slice/job\n4:cpu,cpuacct:/slice/job\n1:name=systemd:/x\n0::/\n"
UNLIMITED = "9223372036854771712\n"
CASES: dict[str, tuple[str, dict[str, str], int, float | None]] = {
    # The membership, the files of the control groups, gigabytes of memory, and the CPUs if they are limited.
    "no limits": (
        "0::/user.slice\n",
        {"user.slice/memory.max": "max\n", "user.slice/cpu.max": "max 100000\n"},
        64,
        None,
    ),
    "version 2": ("0::/a/b\n", {"a/b/memory.max": f"{2 * GIGABYTE}\n", "a/b/cpu.max": "50000 100000\n"}, 2, 0.5),
    "version 2, of a group above": (
        "0::/a/b\n",
        {
            "a/b/memory.max": "max\n",
            "a/memory.max": f"{3 * GIGABYTE}\n",
            "a/cpu.max": "10000 100000",
            "a/b/cpu.max": "max",
        },
        3,
        0.1,
    ),
    "version 2, in a container": ("0::/\n", {"memory.max": f"{GIGABYTE}\n", "cpu.max": "20000 100000\n"}, 1, 0.2),
    "version 2, the host's path in a container": ("0::/kubepods/pod1/abc\n", {"memory.max": f"{GIGABYTE}"}, 1, None),
    "version 2, outside of the name space": ("0::/../../abc\n", {"memory.max": f"{GIGABYTE}"}, 1, None),
    "version 1": (
        V1,
        {
            "memory/slice/job/memory.limit_in_bytes": f"{2 * GIGABYTE}\n",
            "memory/slice/memory.limit_in_bytes": UNLIMITED,
            "memory/memory.limit_in_bytes": UNLIMITED,
            "cpu,cpuacct/slice/job/cpu.cfs_quota_us": "25000\n",
            "cpu,cpuacct/slice/job/cpu.cfs_period_us": "100000\n",
        },
        2,
        0.25,
    ),
    "version 1, in a container, without limits": (
        V1,
        {
            "memory/memory.limit_in_bytes": UNLIMITED,
            "cpu/cpu.cfs_quota_us": "-1\n",
            "cpu/cpu.cfs_period_us": "100000\n",
        },
        64,
        None,
    ),
    "version 1, in a container, with limits": (
        V1,
        {
            "memory/memory.limit_in_bytes": f"{4 * GIGABYTE}\n",
            "cpu/cpu.cfs_quota_us": "10000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
        },
        4,
        0.1,
    ),
    "both": (V1, {"memory/slice/memory.limit_in_bytes": f"{GIGABYTE}", "unified/cgroup.procs": "1"}, 1, None),
    "nonsense": ("x\n:::\n0::\n", {"memory.max": "many\n", "cpu.max": "1 0\n"}, 64, None),
    "nothing": ("", {}, 64, None),
}


@pytest.mark.parametrize("case", CASES)
def test_limits_of_control_groups(case: str, tmp_path: Path) -> None:
    membership, files, memory, cpus = CASES[case]
    found = ask(root=cgroups(tmp_path, membership, files))["resources"]
    assert found["memory"] == memory * GIGABYTE
    assert found["cpus"] == (cpus or len(os.sched_getaffinity(0)))


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A real control group of version 1 or 2 with a limit of 300 MB."""
    for parent, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = Path(parent, f"hubops-test-{os.getpid()}")
        try:
            group.mkdir()
            (group / limit).write_text(str(300 << 20))
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("this account may not make a control group")


def test_the_limit_of_a_real_control_group(memory_group: Path) -> None:
    code = build_probe([], [], "/", with_resources=True, with_gpus=False)
    enter = f"import os\nopen('{memory_group}/cgroup.procs', 'w').write(str(os.getpid()))\n"
    found = parse_answer(run_python(enter + code).stdout)
    assert found
    assert found["resources"]["memory"] == 300 << 20


def test_this_machine() -> None:
    found = ask()["resources"]
    assert found["memory"] <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found["gpus"] is None
    assert ask(disk="/no/such/folder")["resources"]["disk"] == "No such file or directory"


def test_a_limit_of_the_address_space_counts() -> None:
    limit = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))\n"
    found = parse_answer(run_python(limit + build_probe([], [], "/", with_resources=True, with_gpus=False)).stdout)
    assert found
    assert found["resources"]["memory"] <= 900 << 20


GPUS = "GPU 0: NVIDIA A100 (UUID: GPU-1)\n  MIG 1g.5gb Device 0: (UUID: MIG-1)\nGPU 1: NVIDIA A100 (UUID: GPU-2)\n"


@pytest.mark.parametrize(
    ("script", "visible", "expected"),
    [
        (f"cat <<'END'\n{GPUS}END\n", None, 2),
        (f"cat <<'END'\n{GPUS}END\n", "1", 1),
        (f"cat <<'END'\n{GPUS}END\n", "", 0),
        ("echo 'No devices were found'\nexit 6\n", None, "nvidia-smi failed: No devices were found"),
        (None, None, 0),
    ],
)
def test_gpus_as_a_fake_nvidia_smi_lists_them(
    tmp_path: Path, script: str | None, visible: str | None, expected: Any
) -> None:
    if script is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}")
        (tmp_path / "nvidia-smi").chmod(0o755)
    elif shutil.which("nvidia-smi"):
        pytest.skip("this machine has the real one")
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert ask(gpus=True, **path, **({} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}))["resources"][
        "gpus"
    ] == expected  # fmt: skip


def test_paths(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "broken").symlink_to("/no/such/target")
    os.mkfifo(tmp_path / "pipe")
    wanted = [
        ("$PLACE/file", True),
        ("~", True),
        ("~/no", True),
        ("~/broken", False),
        ("~/file/x", False),
        ("~/pipe", True),
    ]
    found = ask(paths=[*wanted, ("/sys", True), ("/sys", False)], HOME=str(tmp_path), PLACE=str(tmp_path))["paths"]
    assert [path["path"] for path in found[:6]] == [path for path, _writable in wanted]
    assert [path["exists"] for path in found] == [True, True, False, True, False, True, True, True]
    assert [bool(path["problem"]) for path in found] == [False, False, True, True, True, False, True, False]
    assert found[2]["problem"] == "No such file or directory"
    assert (tmp_path / "file").read_text() == "content"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "file", "pipe"]


def test_a_mount_that_is_read_only_or_full(tmp_path: Path) -> None:
    read_only, full = tmp_path / "ro", tmp_path / "full"
    for folder in (read_only, full):
        folder.mkdir()
    mounts = [["-o", "ro", "tmpfs", read_only], ["-o", "size=4k", "tmpfs", full]]
    try:
        for options in mounts:
            if subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True, check=False).returncode:
                pytest.skip("this account may not mount")
        (full / "file").write_bytes(b"x" * 4096)
        found = ask(paths=[(str(read_only), True), (str(full), True), (str(full), False)])["paths"]
    finally:
        for folder in (read_only, full):
            subprocess.run(["umount", folder], capture_output=True, check=False)
    assert [path["problem"] for path in found] == ["Read-only file system", "No space left on device", None]


# What is wanted


def test_packages_are_names_with_versions() -> None:
    assert Package.parse("numpy >=1.26, <3") == Package("numpy >=1.26, <3", "numpy", "<3,>=1.26")
    numpy = Package.parse("numpy>=1.26,<3")
    assert numpy.find_problem("2.1.0rc1") is None
    assert numpy.find_problem("3.0") == "numpy is 3.0, wanted is <3,>=1.26"
    assert numpy.find_problem(None) == "numpy is not installed"
    assert numpy.find_problem("of yesterday") == "numpy is of yesterday, wanted is <3,>=1.26"
    assert Package.parse("numpy").find_problem("of yesterday") is None


@pytest.mark.parametrize(
    "text", ["", "numpy 2", "numpy>=x", "a b", "numpy[all]", "numpy; python_version<'3'", "x @ file:///y"]
)
def test_anything_else_is_no_package(text: str) -> None:
    with pytest.raises(Invalid, match="packages"):
        Package.parse(text)


def test_without_the_library_for_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "HAS_PACKAGING", False)
    with pytest.raises(Invalid, match="packaging is not installed"):
        Package.parse("numpy")
    with pytest.raises(Invalid, match="expected_version"):
        version_problem("6.1.1", ">=6")
    assert version_problem("6.1.1", "6.1") is None


@pytest.mark.parametrize(
    ("version", "expected", "fits"),
    [
        ("6.1.1", "6.1.1", True), ("6.1.1", "6.1", True), ("6.10", "6.1", False), ("6.1.1", ">=6.1,<7", True),
        ("5.5", ">=6", False), ("6.2.0b1", ">=6.1", True), ("odd", ">=6", False), ("6.1.1", "", True),
    ],
)  # fmt: skip
def test_the_hubs_version(version: str, expected: str, fits: bool) -> None:
    assert (version_problem(version, expected) is None) == fits


def test_a_version_that_is_none() -> None:
    with pytest.raises(Invalid, match="expected_version"):
        version_problem("6.1.1", ">=six")


def test_sizes() -> None:
    assert [parse_size(text, "x") for text in ("10", "1K", "1.5G", "2 GiB", "1tb")] == [
        10, 1024, 3 * GIGABYTE // 2, 2 * GIGABYTE, 1 << 40,
    ]  # fmt: skip
    assert [show_size(size) for size in (10, 1536, 3 * GIGABYTE // 2, 5 << 40)] == ["10", "1.5K", "1.5G", "5T"]
    for text in ("", "-1", "2X", "one", "1e9", "9" * 40):
        with pytest.raises(Invalid, match=r"resources\.memory"):
            parse_size(text, "resources.memory")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(Invalid, match="paths"):
        WantedPath(path)


# The proofs


class Kernel:
    """Stands for a kernel that gives one answer, or raises a failure."""

    def __init__(self, answer: Any, error: Any = None) -> None:
        self.answer, self.error, self.codes = answer, error, list[str]()

    def run(self, code: str) -> Any:
        self.codes.append(code)
        if isinstance(self.answer, HubError):
            raise self.answer
        text = self.answer if isinstance(self.answer, str) else f"noise\n{MARK}{json.dumps(self.answer)}\n"
        return SimpleNamespace(stdout=text, error=self.error)


def probe_of(kernel: Kernel) -> Probe:
    return Probe([], [], None, kernel.run)


def test_one_question_answers_all(tmp_path: Path) -> None:
    packages = [Package.parse("pip"), Package.parse("packaging>=20")]
    paths = [WantedPath(str(tmp_path), is_writable=True), WantedPath("/")]
    resources = Resources(memory=1 << 20, disk=1, cpus=0.1, gpus=0)
    codes = []

    def run(code: str) -> Any:
        codes.append(code)
        return run_python(code)

    probe, finding = Probe(packages, paths, resources, run), Finding()
    assert codes == []
    prove_packages(probe, packages, finding)
    assert finding.message.startswith(f"Python {sys.version.split()[0]} has pip ")
    assert finding.details["packages"].keys() == {"pip", "packaging"}
    finding = Finding()
    prove_paths(probe, paths, finding)
    assert finding.message == "All 2 paths are there, and 1 of them writable."
    assert finding.details == {
        "paths": [{"path": path, "exists": True, "problem": None} for path in (str(tmp_path), "/")]
    }
    finding = Finding()
    prove_resources(probe, resources, finding)
    assert finding.details.keys() == {"memory", "disk", "cpus", "gpus"}
    assert finding.message.startswith("The server has memory ")
    assert len(codes) == 1


def test_all_that_is_wrong_is_named() -> None:
    resources = {"memory": GIGABYTE, "disk": "Stale file handle", "cpus": 0.5, "gpus": 1}
    paths = [{"exists": True, "problem": "Read-only file system"}, {"exists": False, "problem": "No such file"}]
    probe = probe_of(Kernel({"python": "3.9.1", "packages": {"a": "1.0"}, "paths": paths, "resources": resources}))
    finding = Finding()
    with pytest.raises(HubFailure, match=r"a is 1.0, wanted is >=2; b is not installed"):
        prove_packages(probe, [Package.parse("a>=2"), Package.parse("b")], finding)
    assert finding.details == {"python": "3.9.1", "packages": {"a": "1.0", "b": None}}
    with pytest.raises(HubFailure, match=r"'/x' is not writable \(Read-only.*'/y' is not there.*'/z' is not there"):
        prove_paths(probe, [WantedPath("/x", True), WantedPath("/y"), WantedPath("/z")], Finding())
    finding = Finding()
    wanted = Resources(memory=2 * GIGABYTE, disk=GIGABYTE, cpus=2, gpus=2)
    with pytest.raises(
        HubFailure, match=r"memory: 1G; wanted is at least 2G; free disk at ~: Stale.*cpus: 0.5.*gpus: 1"
    ):
        prove_resources(probe, wanted, finding)
    assert finding.details == {"memory": GIGABYTE, "disk": None, "cpus": 0.5, "gpus": 1}
    with pytest.raises(HubFailure, match=f"memory: {GIGABYTE} of {GIGABYTE + 1}; wanted"):
        prove_resources(probe, Resources(memory=GIGABYTE + 1), Finding())


@pytest.mark.parametrize("error", [{"ename": "NameError", "evalue": "def\x1b[0m"}, "Error: bad", {"ename": ""}, True])
def test_a_kernel_of_another_language_raises(error: Any) -> None:
    with pytest.raises(KernelFailed, match="cannot say what the server has"):
        prove_packages(probe_of(Kernel("", error)), [], Finding())


@pytest.mark.parametrize("text", ["", "hello\n", f"{MARK}\n", f"{MARK}[1]\n", f"{MARK}{{\n", MARK + "[" * 100_000])
def test_a_kernel_that_gives_no_answer(text: str) -> None:
    with pytest.raises(KernelFailed, match="gave no answer"):
        prove_packages(probe_of(Kernel(text)), [], Finding())


def test_a_failure_is_asked_for_once() -> None:
    kernel = Kernel(Timeout("The code did not end.", "Wait."))
    probe = probe_of(kernel)
    for prove in (prove_packages, prove_paths):
        with pytest.raises(Timeout, match="did not end"):
            prove(probe, [], Finding())
    with pytest.raises(Timeout, match="did not end"):
        prove_resources(probe, Resources(), Finding())
    assert len(kernel.codes) == 1


@pytest.mark.parametrize("odd", [None, [], {}, "text", 7, [7, None, "x"], {"memory": "x" * 10_000, "a": [1]}])
def test_odd_answers_are_failures_and_not_crashes(odd: Any) -> None:
    probe = probe_of(Kernel({"packages": odd, "paths": odd, "resources": odd, "python": odd}))
    for prove, wanted in (
        (prove_packages, [Package.parse("a")]),
        (prove_paths, [WantedPath("/x")]),
        (prove_resources, Resources(memory=1)),
    ):
        with pytest.raises(HubFailure) as raised:
            prove(probe, wanted, Finding())  # type: ignore[operator]
        assert len(raised.value.message) < 1000
