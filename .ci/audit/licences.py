"""Check the licence of every package that Banyan needs to run, and list them in the docs."""

import json
import re
import subprocess
import sys
from pathlib import Path

from license_expression import ExpressionError, get_spdx_licensing
from packaging.utils import canonicalize_name
from pins import ROOT, Pin
from policy import Policy

PAGE = ROOT / "docs" / "licences.md"

LICENSING = get_spdx_licensing()

SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""Names of a licence in packages' metadata -> its SPDX identifier."""

NOT_STATED = "not stated"


def check_licences(pins: list[Pin], policy: Policy, page: Path = PAGE) -> list[str]:
    """Write the page of licences; return a line for each licence that may not be distributed."""
    installed = {pin.name for pin in pins if pin.applies_here}
    licences = _read_licences(installed)
    for name, stated in policy.stated_licences.items():
        licences[name] = stated.licence
    names = sorted({pin.name for pin in pins})
    rows = [(name, licences.get(name, NOT_STATED)) for name in names]
    page.write_text(_format_page(rows, pins, policy), "utf-8")
    problems = [problem for row in rows if (problem := _find_problem(*row, policy))]
    unused = sorted((policy.stated_licences.keys() | policy.accepted_licences.keys()) - {*names})
    return problems + [f"{name} is in the policy and not in requirements.txt" for name in unused]


def _read_licences(names: set[str]) -> dict[str, str]:
    """Return the licence that each installed package's metadata states, as SPDX where it can."""
    listed = subprocess.run(
        [sys.executable, "-m", "piplicenses", "--format=json", "--from=all", "--with-system"],
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    packages = {canonicalize_name(row["Name"]): row for row in json.loads(listed.stdout)}
    return {name: _read_licence(packages[name]) for name in names & packages.keys()}


def _read_licence(package: dict[str, str]) -> str:
    """Return one licence: the SPDX expression, else the classifier, else the free text."""
    fields = ("License-Expression", "License-Metadata", "License-Classifier")
    expression, text, classifier = (package[field] for field in fields)
    if expression != "UNKNOWN":
        return expression
    texts = [*classifier.split("; "), text] if ";" not in classifier else [text]
    known = (SPDX.get(each, each) for each in texts)
    return next((each for each in known if _is_spdx(each)), NOT_STATED)


def _is_spdx(text: str) -> bool:
    """Return whether `text` is an SPDX expression, and not the text of a licence."""
    if not re.fullmatch(r"[\w.+() -]{2,80}", text):
        return False
    try:
        return not LICENSING.unknown_license_keys(LICENSING.parse(text))
    except ExpressionError:
        return False


def _is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Return whether one choice of the SPDX expression consists of allowed licences only."""
    parsed = LICENSING.parse(expression, validate=True).simplify()
    choices = parsed.args if getattr(parsed, "operator", "").strip() == "OR" else [parsed]
    return any({str(part) for part in choice.literals} <= allowed for choice in choices)


def _find_problem(name: str, licence: str, policy: Policy) -> str:
    """Return why the package may not be distributed with Banyan; empty: it may."""
    if licence == NOT_STATED:
        return f"{name} states no single licence; find it and state it in policy.yml"
    if _is_allowed(licence, policy.allowed_licences):
        return ""
    accepted = policy.accepted_licences.get(name)
    if accepted is None:
        return f"{name} has the licence {licence}, which is not on the list of allowed licences"
    if accepted.licence != licence:
        return f"{name} has the licence {licence}; {accepted.licence} was accepted"
    return f"{name}: {licence} was accepted until {accepted.until}" if accepted.has_ended else ""


def _format_page(rows: list[tuple[str, str]], pins: list[Pin], policy: Policy) -> str:
    versions: dict[str, list[str]] = {}
    for pin in pins:
        versions.setdefault(pin.name, []).append(pin.version)
    lines = [
        "# Licences",
        "",
        "The packages of `requirements.txt`, which Banyan (Apache-2.0) needs to run, and their",
        "licences. `make audit` writes this page and refuses any other; [how](supply-chain.md).",
        "",
        "| package | version | licence |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {', '.join(sorted(versions[name]))} | {licence} |"
            for name, licence in rows
        ),
        "",
        "## Accepted exceptions",
        "",
        "| package | licence | reason | until |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {each.licence} | {each.reason} | {each.until} |"
            for name, each in sorted(policy.accepted_licences.items())
        ),
        "",
        "## Licences that the metadata does not state",
        "",
        "| package | licence | evidence |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {each.licence} | {each.evidence} |"
            for name, each in sorted(policy.stated_licences.items())
        ),
    ]
    return "\n".join(lines) + "\n"
