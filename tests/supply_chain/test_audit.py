"""The audit finds problems, accepts what the policy explains, and names what it did not check."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from pipelines.core.settings import PROJECT

ADVISORIES = Path(__file__).with_name("advisories")
TODAY = datetime.now(UTC).date()
REASON = "A reason that explains the exception to a reader."


def run_audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ".ci/audit", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    file = tmp_path / "requirements.txt"
    file.write_text(f"example-package==1.4 \\\n    --hash=sha256:{'0' * 64}\n")
    return file


def write_policy(audit, tmp_path: Path, **changes: object) -> Path:
    policy = yaml.safe_load(audit.policy.FILE.read_text("utf-8")) | changes
    path = tmp_path / "policy.yml"
    path.write_text(yaml.safe_dump(policy), "utf-8")
    return path


@pytest.mark.prove
@pytest.mark.parametrize("check", ["licences", "secrets", "bill"])
def test_the_project_has_no_finding_without_a_reason(check: str):
    audited = run_audit(check)
    assert (audited.returncode, audited.stderr) == (0, ""), audited.stdout


@pytest.mark.prove
@pytest.mark.parametrize(
    ("days", "code", "text"),
    [
        (None, 1, "example-package 1.4: CVE-0000-0001, EXAMPLE-2026-1; mended in 1.4.1"),
        (0, 0, "advisories: clean"),
        (-1, 1, "EXAMPLE-2026-1"),
    ],
)
def test_a_known_vulnerability_counts_unless_it_is_accepted(
    audit, requirements: Path, tmp_path: Path, days: int | None, code: int, text: str
):
    accepted = {"package": "example-package", "id": "CVE-0000-0001", "reason": REASON}
    entries = [] if days is None else [accepted | {"until": TODAY + timedelta(days)}]
    policy = write_policy(audit, tmp_path, accepted_advisories=entries)
    process = run_audit(
        *("advisories", "--requirements", str(requirements), "--policy", str(policy)),
        *("--advisories-file", str(ADVISORIES)),
    )
    assert (process.returncode, text in process.stdout) == (code, True), process.stderr


@pytest.mark.prove
def test_an_unreadable_file_of_advisories_is_no_clean_audit(requirements: Path, tmp_path: Path):
    process = run_audit(
        *("advisories", "--requirements", str(requirements)),
        *("--advisories-file", str(tmp_path / "all.zip")),
    )
    assert process.returncode == 3
    assert "NOT CHECKED" in process.stdout


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("1.1", False),
        ("1.2", True),
        ("1.4.1rc1", True),
        ("1.4.1", False),
        ("2.0rc1", True),
        ("2.3", True),
        ("2.3.1", False),
        ("not a version", True),
    ],
)
def test_ranges_of_an_advisory(audit, version: str, affected: bool):
    records = audit.advisories.load_advisories(ADVISORIES)
    assert set(records) == {"example-package"}
    record = records["example-package"][0]
    assert audit.advisories.is_affected(record, "example-package", version) is affected
    withdrawn = record | {"withdrawn": "2026-02-01T00:00:00Z"}
    assert not audit.advisories.is_affected(withdrawn, "example-package", version)


@pytest.mark.prove
def test_the_service_passes_over_what_it_does_not_know(audit, requirements: Path):
    nowhere = ("--vulnerability-service", "osv", "--osv-url", "http://127.0.0.1:9/")
    with pytest.raises(audit.advisories.NotCheckedError):
        audit.advisories._run_pip_audit(requirements, *nowhere)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "clean.py").write_text("answer = 42\n")
    return tmp_path


def test_a_secret_is_found_even_with_a_comment_beside_it(audit, repository: Path):
    policy = audit.policy.load_policy().model_copy(update={"accepted_secrets": []})
    assert audit.secret_scan.check_secrets(policy, repository) == []
    key = "AKIA" + "Q3EGVXWL7MJ2PZ4K"
    (repository / "leak.py").write_text(f'key = "{key}"  # pragma: allowlist secret\n')
    problems = audit.secret_scan.check_secrets(policy, repository)
    assert any(problem.startswith("leak.py:1: AWS Access Key") for problem in problems)
    assert not any(key in problem for problem in problems)

    (found, *_) = (
        each for each in audit.secret_scan.find_secrets(repository) if "AWS" in each.type
    )
    tomorrow = TODAY + timedelta(1)  # the tests may run over midnight
    entry = audit.policy.AcceptedSecret(
        file="leak.py", kind=found.type, sha1=found.secret_hash, reason=REASON, until=tomorrow
    )
    accepted = policy.model_copy(update={"accepted_secrets": [entry]})
    assert audit.secret_scan.check_secrets(accepted, repository) == []
    (repository / "leak.py").write_text("key = None\n")
    assert "is gone" in audit.secret_scan.check_secrets(accepted, repository)[0]


@pytest.mark.prove
def test_a_licence_that_nobody_accepted_is_refused(audit, tmp_path: Path):
    policy = audit.policy.load_policy()
    pins = audit.pins.read_pins(PROJECT / "requirements.txt")
    page = tmp_path / "licences.md"
    assert audit.licences.check_licences(pins, policy, page) == []
    assert page.read_text("utf-8") == audit.licences.PAGE.read_text("utf-8")

    strict = policy.model_copy(update={"accepted_licences": {}})
    problems = audit.licences.check_licences(pins, strict, page)
    assert {problem.split()[0] for problem in problems} == set(policy.accepted_licences)


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-or-later", False),
        ("Artistic-1.0 OR GPL-2.0-or-later", True),
        ("MIT AND GPL-2.0-only", False),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("(MIT AND GPL-2.0-only) OR AGPL-3.0-only", False),
    ],
)
def test_one_choice_of_an_expression_must_be_allowed_whole(audit, expression: str, allowed: bool):
    licences = audit.policy.load_policy().allowed_licences
    assert audit.licences._is_allowed(expression, licences) is allowed


@pytest.mark.prove
def test_the_bill_of_materials_is_valid_and_names_what_runs(audit, tmp_path: Path):
    pins = audit.pins.read_pins(PROJECT / "requirements.txt")
    path = tmp_path / "sbom.json"
    assert audit.bill_of_materials.write_bill(pins, path) == []
    bill = json.loads(path.read_text("utf-8"))
    named = {
        (part["name"].lower().replace("_", "-"), part["version"]) for part in bill["components"]
    }
    assert ("duckdb", dict(named)["duckdb"]) in {(pin.name, pin.version) for pin in pins}
    assert len(named) == len({pin.name for pin in pins if pin.applies_here})
    assert not {name for name, _ in named} & {"pytest", "pip-audit", "banyan"}
    own = next(each for each in bill["dependencies"] if each["ref"] == "root-component")
    assert any(reference.startswith("duckdb==") for reference in own["dependsOn"])
    first = path.read_bytes()
    audit.bill_of_materials.write_bill(pins, path)
    assert path.read_bytes() == first


@pytest.mark.prove
def test_an_environment_of_other_versions_has_no_bill(audit, tmp_path: Path):
    pins = audit.pins.read_pins(PROJECT / "requirements.txt")
    other = audit.pins.Pin("duckdb", "0.0.1", "", ())
    problems = audit.bill_of_materials.write_bill([*pins, other], tmp_path / "sbom.json")
    assert len(problems) == 1
    assert problems[0].startswith("duckdb 0.0.1 is pinned, ")
    assert not (tmp_path / "sbom.json").exists()
