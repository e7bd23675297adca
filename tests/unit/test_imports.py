"""Who may import whom, read from the source of every file; and that importing does no work."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [
    *sorted(path.relative_to(ROOT) for name in ("api", "ml", "cli") for path in (ROOT / name).rglob("*.py")),
    Path("settings.py"),
    Path("run.py"),
]

#: What of ml/ the HTTP side may know.
OF_ML = ("ml.service", "ml.errors", "ml.tensors", "ml.database", "ml.identity", "ml.audit")
#: Where TensorFlow and Keras may be imported, inside functions alone; executors need the former to make artefacts.
TENSORFLOW = ("ml/executors/", "ml/build/", "ml/demo/train.py")
KERAS = ("ml/build/", "ml/demo/train.py")


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, bool]]:
    """Every module that is imported, also for types alone, with whether that happens when the file is imported."""

    def walk(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, at_import) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = ".".join(package.split(".")[: len(package.split(".")) - child.level + 1]) if child.level else ""
                module = ".".join(part for part in (base, child.module) if part)
                # `from ml import errors` may mean a module.
                yield from ((f"{module}.{alias.name}", at_import) for alias in child.names)
            elif isinstance(child, ast.Call) and ast.unparse(child.func).endswith("import_module"):
                named = child.args[0]
                if isinstance(named, ast.Constant):
                    yield str(named.value), at_import
                yield from walk(child, at_import)
            else:
                inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
                yield from walk(child, at_import and not inside)

    yield from walk(tree, True)


def imported_by(path: Path) -> list[tuple[str, bool]]:
    package = ".".join(path.parent.parts)
    return list(imports(ast.parse((ROOT / path).read_text()), package))


def is_of(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_the_reader_sees_every_kind_of_import() -> None:
    source = """
import a.b
from c import d
from . import e
from .f import g
if TYPE_CHECKING:
    import h
def later():
    from i import j
    importlib.import_module("k")
"""
    found = dict(imports(ast.parse(source), "p.q"))
    assert found == {
        "a.b": True, "c.d": True, "p.q.e": True, "p.q.f.g": True, "h": True, "i.j": False, "k": False,
    }  # fmt: skip


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "ml"], ids=str)
def test_ml_knows_nothing_of_http(path: Path) -> None:
    wrong = [name for name, _ in imported_by(path) if is_of(name, "flask", "eve", "werkzeug", "api", "cli", "settings")]
    assert not wrong


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "api"], ids=str)
def test_api_knows_little_of_ml(path: Path) -> None:
    names = [name for name, _ in imported_by(path)]
    assert not [name for name in names if is_of(name, "ml") and not is_of(name, *OF_ML)]
    assert not [name for name in names if is_of(name, "cli", "tensorflow", "keras")]


@pytest.mark.parametrize("path", FILES, ids=str)
def test_tensorflow_and_keras_are_imported_late_and_in_few_places(path: Path) -> None:
    found = [(name, at_import) for name, at_import in imported_by(path) if is_of(name, "tensorflow", "keras")]
    assert not [name for name, at_import in found if at_import]
    for name, _ in found:
        allowed = TENSORFLOW if is_of(name, "tensorflow") else KERAS
        assert path.as_posix().startswith(allowed), f"{path} imports {name}"


HEAVY = ("tensorflow", "keras", "sklearn", "scipy", "h5py")


def in_a_fresh_process(code: str) -> dict[str, list[str]]:
    """What `code` prints, as JSON, run where nothing was imported yet and nothing can be reached."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, list[str]] = json.loads(done.stdout)
    return result


def test_importing_does_no_work() -> None:
    modules = [
        ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.name not in ("run.py", "__main__.py")
    ]
    found = in_a_fresh_process(f"""
import importlib, json, os, socket, subprocess, sys, threading
did = []
def refuse(what):
    def call(*args, **kwargs):
        did.append(what)
        raise RuntimeError(what)
    return call
socket.socket.connect = refuse("connect")
socket.getaddrinfo = refuse("getaddrinfo")
subprocess.Popen.__init__ = refuse("Popen")
os.fork = refuse("fork")
before = set(os.listdir("."))
for name in {modules!r}:
    importlib.import_module(name)
from pymongo import MongoClient
print(json.dumps(dict(
    did=did,
    heavy=[name for name in {HEAVY!r} if name in sys.modules],
    threads=[thread.name for thread in threading.enumerate()][1:],
    files=sorted(set(os.listdir(".")) - before - {{"__pycache__"}}),
)))
""")
    assert found == {"did": [], "heavy": [], "threads": [], "files": []}


def test_the_package_api_is_light_until_an_app_is_made() -> None:
    found = in_a_fresh_process(
        "import api, json, sys; print(json.dumps({'m': [n for n in ('flask', 'eve', 'pymongo') if n in sys.modules]}))"
    )
    assert found == {"m": []}
