"""Audit what Banyan is made of: licences, secrets, bill of materials, known vulnerabilities.

    python .ci/audit [licences] [secrets] [bill] [advisories] [--advisories-file FILE]

Without names it does all four. Exit: 0 clean, or each finding is accepted in `policy.yml`; 1 a
finding that is not; 3 the advisories could not be read, so nothing is known about vulnerabilities.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from advisories import EXAMPLE, NotCheckedError, check_advisories
from bill_of_materials import write_bill
from licences import check_licences
from pins import ROOT, read_pins
from policy import FILE, load_policy
from secret_scan import check_secrets

NOT_CHECKED = 3


def main() -> int:
    """Run the checks by name, print each finding, and return the exit code."""
    parser = argparse.ArgumentParser(prog=".ci/audit", description=__doc__)
    parser.add_argument("checks", nargs="*")
    parser.add_argument("--advisories-file", type=Path, help=f"OSV's export, such as {EXAMPLE}")
    parser.add_argument("--policy", type=Path, default=FILE)
    parser.add_argument("--requirements", type=Path, default=ROOT / "requirements-dev.txt")
    options = parser.parse_args()
    policy = load_policy(options.policy)
    pins = read_pins(ROOT / "requirements.txt")
    checks: dict[str, Callable[[], list[str]]] = {
        "licences": lambda: check_licences(pins, policy),
        "secrets": lambda: check_secrets(policy),
        "bill": lambda: write_bill(pins),
        "advisories": lambda: check_advisories(
            options.requirements, policy, options.advisories_file
        ),
    }
    if unknown := {*options.checks} - {*checks}:
        parser.error(f"no such check: {', '.join(sorted(unknown))}; there are {', '.join(checks)}")
    return max(_run(name, checks[name]) for name in options.checks or checks)


def _run(name: str, check: Callable[[], list[str]]) -> int:
    try:
        problems = check()
    except NotCheckedError as error:
        print(
            f"advisories: NOT CHECKED. {error}. Known vulnerabilities may exist. Run it where the "
            f"package index answers, or fetch {EXAMPLE} there and give the file: "
            "make audit ADVISORIES=all.zip"
        )
        return NOT_CHECKED
    for problem in problems:
        print(f"{name}: {problem}")
    if not problems:
        print(f"{name}: clean")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
