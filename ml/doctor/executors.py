"""Which ways of running a model work on this machine, and whether models can be built here: each tried in a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml.build import isolation, landlock, sandbox, seccomp
from ml.doctor.findings import Finding, ok, warning
from ml.executors import KINDS
from ml.executors.tf import UNUSED

ROOT = Path(__file__).resolve().parents[2]
#: TensorFlow's import takes some seconds, and minutes from a cold network disk.
SECONDS = 120.0
#: What a build imports.
BUILDS = ("keras", "tensorflow", "tf2onnx", "onnx")

_INSTALL = "run `make setup` (in a container: take the image that has it)"
_CRASHED = (
    "install a build of it that is made for this processor and system; SIGILL: the processor has no instructions "
    "that it needs (AVX)"
)


@dataclass(frozen=True, slots=True)
class Here:
    """What this machine can do: for each executor why it cannot be used, None where it can; so for builds."""

    executors: Mapping[str, str | None] = field(default_factory=dict)
    builds: str | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What a process said, or why it said nothing."""

    problem: str | None
    packages: Mapping[str, str] = field(default_factory=dict)
    missing: bool = False


def examine() -> Generator[Finding, None, Here]:
    with ThreadPoolExecutor(2) as pool:
        building = pool.submit(tried, ["-c", _imports(BUILDS)])
        fences = {
            name: pool.submit(tried, ["-I", str(module.__file__)], silent=True)
            for name, module in (("namespaces", isolation), ("landlock", landlock), ("seccomp", seccomp))
        }
        seen = dict(zip(KINDS, pool.map(lambda kind: tried(["-m", "ml.doctor.probe", kind]), KINDS), strict=True))
    for kind, one in seen.items():
        yield _executor(kind, one)
    yield _builds(building.result())
    held = {name: one.result() for name, one in fences.items()}
    yield _network(held["namespaces"], held["seccomp"])
    yield _files(held["landlock"], held["namespaces"])
    yield _processes(held["seccomp"])
    return Here({kind: one.problem for kind, one in seen.items()}, building.result().problem)


def tried(arguments: list[str], *, silent: bool = False, seconds: float = SECONDS) -> Tried:
    """Run Python with these arguments; the last line that it prints is JSON, or there is none where `silent`."""
    # Nothing here needs a setting of ours, and some of them are secrets.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ALMANAC_")}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}
    try:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Tried(f"its process was not done after {seconds:g} s")
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode != 0:
        last = f": {said[-1][:300]}" if said else ""
        return Tried(f"its process {sandbox.described(done.returncode)}{last}")
    if silent:
        return Tried(None)
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return Tried(answer["problem"], answer["packages"], bool(answer.get("missing")))
    except (IndexError, KeyError, TypeError, ValueError):
        return Tried("its process said nothing that can be read")


def _executor(kind: str, one: Tried) -> Finding:
    about = f"executor {kind}"
    if one.problem is None:
        return ok(about, "it runs" + _versions(one))
    if one.missing:  # many machines do without some; what models ask for is looked at with them
        return ok(about, f"{one.problem}, so that nothing is run by it here")
    return warning(about, one.problem, _CRASHED)


def _builds(one: Tried) -> Finding:
    if one.problem is None:
        return ok("builds", "models can be built here" + _versions(one))
    advice = _INSTALL if one.missing else _CRASHED
    return warning(
        "builds", f"this replica cannot build models: {one.problem}", f"{advice}; or let another replica build"
    )


_TRUSTED = "or build only models whose source you trust"


def _network(namespaces: Tried, seccomp: Tried) -> Finding:
    about = "network of builds"
    if namespaces.problem is None or seccomp.problem is None:
        return ok(about, "a build's process is cut off from it")
    return warning(
        about,
        "the kernel has neither a network namespace nor seccomp for a build's process, which can reach the network "
        f"({namespaces.problem}; {seccomp.problem})",
        "allow user namespaces to this user (in a container: a seccomp profile that lets unshare through), " + _TRUSTED,
    )


def _files(landlock: Tried, namespaces: Tried) -> Finding:
    about = "files of builds"
    if landlock.problem is None:
        return ok(about, "a build's process reaches none but its own and what Python needs")
    can = "read what Almanac's user can" if namespaces.problem is None else "read and change what Almanac's user can"
    return warning(
        about,
        f"the kernel has no Landlock, so a build's process can {can} ({landlock.problem})",
        "take a kernel from 5.13 on with landlock among its security modules (lsm=landlock,... on its command line; "
        "in a container: a seccomp profile that lets landlock_restrict_self through), " + _TRUSTED,
    )


def _processes(seccomp: Tried) -> Finding:
    about = "processes of builds"
    if seccomp.problem is None:
        return ok(about, "a build's process can start none, and signal no other")
    return warning(
        about,
        f"the kernel takes no seccomp filter, so a build's process can start and signal others ({seccomp.problem})",
        "take a kernel with seccomp filters, on x86-64 or arm64, " + _TRUSTED,
    )


def _versions(one: Tried) -> str:
    return f" ({', '.join(f'{name} {version}' for name, version in one.packages.items())})" if one.packages else ""


def _imports(names: tuple[str, ...]) -> str:
    """A program that imports packages, and answers as ml/doctor/probe.py does."""
    return f"""
import importlib, importlib.metadata, importlib.util, json, sys
sys.modules.update(dict.fromkeys({UNUSED!r}))
missing = [name for name in {names!r} if importlib.util.find_spec(name) is None]
problem = ", ".join(missing) + " is not installed" if missing else None
versions = {{}}
for name in {names!r} if not missing else ():
    importlib.import_module(name)
    versions[name] = importlib.metadata.version(name)
print(json.dumps(dict(packages=versions, missing=missing, problem=problem)))
"""
