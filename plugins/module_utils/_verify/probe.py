# Copyright (c) 2026, the hubops.jupyterhub contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server must have: packages, paths and resources. A `Probe` asks a Python kernel for all of it at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .._hub.errors import HubError, HubFailure, Invalid, KernelFailed, printable, quoted
from .phases import Finding
from .probe_code import build_probe, parse_answer

try:
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version
except ImportError:
    HAS_PACKAGING = False
else:
    HAS_PACKAGING = True

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
"""Bytes. The units are those of the hub's own limits (``ByteSpecification`` in its traitlets.py)."""


def require_packaging(option: str) -> None:
    """Raise `Invalid` if the library for versions is missing. ``option`` is the option that needs it."""
    if not HAS_PACKAGING:
        raise Invalid(
            f"The Python library packaging is not installed where this task runs, and {option} needs it.",
            "Install it: pip install packaging",
        )


@dataclass(frozen=True)
class Package:
    """A package that is to be there. ``text`` is how the user writes it: a name, and perhaps versions (PEP 440)."""

    text: str
    name: str
    specifier: str

    @staticmethod
    def parse(text: str) -> Package:
        """Return the package. Raises `Invalid` for anything but a name and versions."""
        require_packaging("packages")
        try:
            found = Requirement(text)
        except InvalidRequirement as error:
            raise _not_a_package(text, str(error).splitlines()[0]) from None
        if found.url or found.marker or found.extras:
            raise _not_a_package(text, "it has more than a name and versions")
        return Package(text, found.name, str(found.specifier))

    def find_problem(self, version: str | None) -> str | None:
        """Return what is wrong with this version, or None. A version of None means that the package is not there."""
        if version is None:
            return f"{self.name} is not installed"
        try:
            fits = SpecifierSet(self.specifier).contains(Version(version), prereleases=True)
        except InvalidVersion:
            fits = not self.specifier
        return None if fits else f"{self.name} is {printable(version, 100)}, wanted is {self.specifier}"


def _not_a_package(text: str, why: str) -> Invalid:
    return Invalid(f"packages: {quoted(text)} is not a package: {why}.", "Write a name, or one like numpy>=1.26,<3.")


@dataclass(frozen=True)
class WantedPath:
    """A file or a folder that is to be there. ``~`` and ``$NAME`` in it mean what they mean in the server."""

    path: str
    is_writable: bool = False
    """Whether the user must be able to write to it."""

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path:
            raise Invalid(f"paths: {quoted(self.path)} is not a path.", "Write one like ~/work or /data/shared.")


def version_problem(version: str, expected: str) -> str | None:
    """Return a sentence if the hub's version is not the expected one, or None.

    ``expected`` is a whole version, the beginning of one, or a specifier (PEP 440). Raises `Invalid` for a specifier
    that is none.
    """
    fits = version == expected or version.startswith(f"{expected}.")
    if re.search(r"[<>=!~,]", expected):
        require_packaging("expected_version")
        try:
            fits = SpecifierSet(expected).contains(Version(version), prereleases=True)
        except InvalidSpecifier:
            raise Invalid(
                f"expected_version: {quoted(expected)} is not a version.", "Write one like 6.1.1, 6.1 or >=6.1,<7."
            ) from None
        except InvalidVersion:
            fits = False
    return (
        None if not expected or fits else f"The hub runs JupyterHub {printable(version, 300)}, expected was {expected}."
    )


def parse_size(value: str, option: str) -> int:
    """Return a size in bytes, from a number of bytes or one with a unit: 512M, 2G. Raises `Invalid` with the option."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", str(value).strip(), re.I)
    if not match:
        raise Invalid(f"{option}: {quoted(str(value))} is not a size.", "Write bytes, or a size like 512M, 2G or 1T.")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def show_size(size: float) -> str:
    """Return a size in bytes for people, such as 1.5G."""
    for unit in ("", "K", "M", "G"):
        if size < 1024:
            return f"{size:.4g}{unit}"
        size /= 1024
    return f"{size:.4g}T"


def _show(name: str, amount: float) -> str:
    """Return an amount of a resource for people."""
    return show_size(amount) if name in ("memory", "disk") else f"{amount:g}"


@dataclass(frozen=True)
class Resources:
    """The least that a server must have. What is None is not checked. Sizes are in bytes."""

    memory: int | None = None
    disk: int | None = None
    cpus: float | None = None
    gpus: int | None = None
    disk_path: str = "~"

    def find_problems(self, found: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with each resource of which there is too little, or that the server does not show."""
        problems = []
        for name, wanted in self._list_wanted():
            has, least = found.get(name), f"wanted is at least {_show(name, wanted)}"
            if not isinstance(has, (int, float)):
                why = printable(has, 300) if isinstance(has, str) else "the server does not show it"
                problems.append(f"{self._name(name)}: {why}; {least}")
            elif has < wanted:
                # A little less than 2G is 2G for people.
                shown = _show(name, has) if _show(name, has) != _show(name, wanted) else f"{has} of {wanted}"
                problems.append(f"{self._name(name)}: {shown}; {least}")
        return problems

    def describe(self, found: Mapping[str, Any]) -> str:
        """Return what there is of the resources that are checked, for a sentence."""
        return ", ".join(f"{self._name(name)} {_show(name, found[name])}" for name, _wanted in self._list_wanted())

    def _list_wanted(self) -> list[tuple[str, float]]:
        wanted = {"memory": self.memory, "disk": self.disk, "cpus": self.cpus, "gpus": self.gpus}
        return [(name, value) for name, value in wanted.items() if value is not None]

    def _name(self, name: str) -> str:
        return f"free disk at {self.disk_path}" if name == "disk" else name

    @property
    def is_empty(self) -> bool:
        """Whether nothing is checked."""
        return self.memory is self.disk is self.cpus is self.gpus is None


class Probe:
    """Asks a kernel for everything at once, the first time that an answer is needed.

    ``run`` runs code in a kernel of the server. Its result has ``stdout``, and ``error``, which is None if the code has
    raised nothing. It raises `HubError` if there is no kernel.
    """

    def __init__(
        self,
        packages: Sequence[Package],
        paths: Sequence[WantedPath],
        resources: Resources | None,
        run: Callable[[str], Any],
    ) -> None:
        wanted = resources or Resources()
        self._code = build_probe(
            [package.name for package in packages],
            [(path.path, path.is_writable) for path in paths],
            wanted.disk_path,
            with_resources=not wanted.is_empty,
            with_gpus=wanted.gpus is not None,
        )
        self._run = run
        self._answer: dict[str, Any] | HubError | None = None

    def read(self, part: str) -> Any:
        """Return a part of the answer. Raises the same `HubError` each time if there is none."""
        if self._answer is None:
            try:
                self._answer = self._ask()
            except HubError as error:
                self._answer = error
        if isinstance(self._answer, HubError):
            raise self._answer
        return self._answer.get(part)

    def _ask(self) -> dict[str, Any]:
        output = self._run(self._code)
        hint = "Ask for packages, paths and resources only of Python kernels: choose one with kernel_name."
        if output.error:
            raise KernelFailed(f"The kernel cannot say what the server has: {_describe_error(output.error)}.", hint)
        found = parse_answer(str(output.stdout))
        if found is None:
            raise KernelFailed("The kernel has run the code that asks what the server has, and gave no answer.", hint)
        return found


def prove_packages(probe: Probe, packages: Sequence[Package], finding: Finding) -> None:
    """Prove that the kernel's own environment has these packages. Raises `HubFailure` that names all that are wrong.

    Details: ``python``, the version, and ``packages``, from the name to the version, or to None.
    """
    found = _as_mapping(probe.read("packages"))
    versions = {package.name: _as_text(found.get(package.name)) for package in packages}
    finding.details |= {"python": _as_text(probe.read("python")), "packages": versions}
    problems = [problem for package in packages if (problem := package.find_problem(versions[package.name]))]
    if problems:
        raise HubFailure(
            f"The kernel's environment lacks packages: {'; '.join(problems)}.",
            "Install them into the environment of the kernel, or correct the option packages.",
        )
    shown = ", ".join(f"{name} {version}" for name, version in versions.items())
    finding.message = printable(f"Python {finding.details['python']} has {shown}.", 500)


def prove_paths(probe: Probe, paths: Sequence[WantedPath], finding: Finding) -> None:
    """Prove that these paths are there, and writable where that is wanted. Raises `HubFailure` that names all others.

    Details: ``paths``, a list of ``{path, exists, problem}``.
    """
    answer = probe.read("paths")
    found = [_as_mapping(each) for each in answer] if isinstance(answer, list) else []
    found += [{}] * (len(paths) - len(found))
    shown = finding.details["paths"] = []
    problems = []
    for wanted, each in zip(paths, found, strict=False):
        problem = _as_text(each.get("problem")) if "exists" in each else "the server does not say"
        exists = each.get("exists") is True
        problem = problem or (None if exists else "no such path")
        shown.append({"path": wanted.path, "exists": exists, "problem": problem})
        if problem:
            how = "is not there" if not exists else "is not writable" if wanted.is_writable else "cannot be used"
            problems.append(f"{quoted(wanted.path)} {how} ({problem})")
    if problems:
        raise HubFailure(
            f"Paths of the server are not as they should be: {'; '.join(problems)}.",
            "Check which volumes the server mounts, their owner and mode, and their free space and quota.",
        )
    writable = sum(path.is_writable for path in paths)
    finding.message = f"All {len(paths)} paths are there, and {writable} of them writable."


def prove_resources(probe: Probe, resources: Resources, finding: Finding) -> None:
    """Prove that the server sees at least these resources. Raises `HubFailure` that names all of which there is less.

    Details: ``memory`` and ``disk`` in bytes, ``cpus``, and ``gpus``, which is None unless it is asked for.
    """
    found = _as_mapping(probe.read("resources"))
    for name in ("memory", "disk", "cpus", "gpus"):
        value = found.get(name)
        finding.details[name] = value if isinstance(value, (int, float)) else None
    problems = resources.find_problems(found)
    if problems:
        raise HubFailure(
            f"The server has too few resources: {'; '.join(problems)}.",
            "Check the limits and requests of the spawner and of the chosen profile. The limits of the server's "
            "control group count, and what nvidia-smi lists.",
        )
    finding.message = f"The server has {resources.describe(found)}."


def _describe_error(error: Any) -> str:
    """Return the exception of a kernel, for a sentence."""
    if isinstance(error, Mapping):
        name, value = (str(error.get(key) or "") for key in ("ename", "evalue"))
        error = f"{name}: {value}" if name and value else name or value or "it raised an exception"
    return printable(" ".join(str(error).split()), 300).rstrip(".")


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_text(value: Any) -> str | None:
    return printable(value, 200) if isinstance(value, str) else None
