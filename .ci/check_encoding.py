"""Refuse text that is read or written in the encoding of the machine's locale.

`make lint` runs it on the packages. A call that opens a file, or a process, in text mode states
`encoding`: under a locale such as zh_CN.GBK the default would read other characters.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (".ci", "dags", "expectations", "models", "pipelines")
ENCODING_AT = {"read_text": 0, "write_text": 1}
"""Method -> the position of its argument `encoding`."""
PROCESSES = {"run", "Popen", "check_output", "check_call", "call"}


def main() -> int:
    """Print every such call and return 1 if there is one."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{path.relative_to(ROOT)}:{line}: state `encoding`"
        for path in paths
        for line in check(path)
    ]
    print("\n".join(found) or "all text states its encoding")  # noqa: T201
    return 1 if found else 0


def check(path: Path) -> Iterator[int]:
    """Yield the line of each call in `path` whose text has no stated encoding."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and _lacks_encoding(node):
            yield node.lineno


def _lacks_encoding(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    given = {keyword.arg for keyword in call.keywords}
    if given & {"encoding", None}:
        return False
    if name in ENCODING_AT:
        return len(call.args) <= ENCODING_AT[name]
    if name in PROCESSES:
        return bool(given & {"text", "universal_newlines"})
    return name in {"open", "fdopen"} and _is_text(call)


def _is_text(call: ast.Call) -> bool:
    """Return whether a call of `open` opens a file in text mode."""
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    modes += [a for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    texts = [mode.value for mode in modes if isinstance(mode, ast.Constant)]
    is_low_level = isinstance(call.func, ast.Attribute) and any(
        isinstance(a, ast.Attribute) and a.attr.startswith("O_") for a in ast.walk(call)
    )
    return not is_low_level and not any("b" in str(text) for text in texts)


if __name__ == "__main__":
    sys.exit(main())
