"""Refuse imports and starts of this project's modules by a string, and packages without a layer.

    python .ci/check_imports.py

Editors, mypy and import-linter cannot follow a module that is named in a string. Ends with 1 where
one is found. Tests may start `python -m pipelines`: that is what a person types.
"""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dags", "expectations", "models", "pipelines")
IMPORTERS = {"__import__", "import_module", "resolve_name", "run_module", "run_path"}
MODULE = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)*")
OUTSIDE = re.compile(r"\.\./shared|\bPROJECT\.parent\b")
"""Folders beside the clone: the product gets a path where it needs one."""


def main() -> int:
    """Check every Python file of the product and return the exit code."""
    hits = [
        hit
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for hit in check_file(path)
    ]
    hits += [
        f"Makefile: names {path}; take a path"
        for path in OUTSIDE.findall((ROOT / "Makefile").read_text("utf-8"))
    ]
    hits += [f"pyproject.toml: {name} has no layer" for name in packages_without_layer()]
    print("\n".join(hits) or "no module is named by a string")  # noqa: T201
    return 1 if hits else 0


def check_file(path: Path) -> Iterator[str]:
    """Yield one line for each string import, module start and outside path of a file."""
    text = path.read_text("utf-8")
    name = path.relative_to(ROOT)
    for outside in OUTSIDE.findall(text):
        yield f"{name}: names {outside}; take a path"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and _called(node) in IMPORTERS:
            yield f"{name}:{node.lineno}: {_called(node)} imports by a string; import the function"
        elif isinstance(node, ast.List | ast.Tuple) and (module := _started(node)):
            yield f"{name}:{node.lineno}: starts {module} by its name; call it, or spawn a process"


def packages_without_layer() -> list[str]:
    """Return the packages of `pipelines` that the layers of pyproject.toml do not list."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    layers = next(each["layers"] for each in contracts["contracts"] if each["type"] == "layers")
    listed = {name for layer in layers for name in re.split(r"\s*[|:]\s*", layer)}
    folders = {f"pipelines.{path.parent.name}" for path in ROOT.glob("pipelines/*/__init__.py")}
    return sorted(folders - listed)


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _started(items: ast.List | ast.Tuple) -> str:
    """Return the module of this project that follows `-m` in a list of arguments."""
    texts = [item.value if isinstance(item, ast.Constant) else None for item in items.elts]
    for option, module in pairwise(texts):
        if option == "-m" and isinstance(module, str) and MODULE.fullmatch(module):
            return module
    return ""


if __name__ == "__main__":
    sys.exit(main())
