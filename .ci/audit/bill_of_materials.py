"""Write the bill of materials (SBOM) of a release, in CycloneDX's format."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name
from pins import ROOT, Pin, list_deviations

FILE = ROOT / "dist" / "sbom.json"
SCHEMA = SchemaVersion.V1_6


def write_bill(pins: list[Pin], path: Path = FILE) -> list[str]:
    """Write the packages that Banyan needs to run; return a line for each problem.

    cyclonedx-py reads the installed packages: names, licences and what each needs. Packages for
    tests are taken out, and the hashes of the pins are added.
    """
    if problems := list_deviations(pins):
        return problems
    bill = _describe_environment()
    _keep_pins(bill, {pin.name: pin for pin in pins if pin.applies_here})
    _describe_project(bill)
    text = json.dumps(bill, indent=1, sort_keys=True) + "\n"
    if error := JsonStrictValidator(SCHEMA).validate_str(text):
        return [
            f"the bill of materials breaks the schema of CycloneDX {SCHEMA.to_version()}: {error}"
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return []


def _describe_environment() -> dict[str, Any]:
    command = [
        *(sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"),
        *("--spec-version", SCHEMA.to_version(), "--output-format", "JSON"),
        *("--pyproject", str(ROOT / "pyproject.toml"), sys.executable),
    ]
    listed = subprocess.run(  # noqa: S603
        command, capture_output=True, encoding="utf-8", check=True
    )
    described: dict[str, Any] = json.loads(listed.stdout)
    return described


def _keep_pins(bill: dict[str, Any], pins: dict[str, Pin]) -> None:
    """Keep the components that are pinned, with the hashes of their files."""
    kept = []
    for component in bill["components"]:
        if pin := pins.get(canonicalize_name(component["name"])):
            files = {
                "type": "distribution",
                "url": f"https://pypi.org/simple/{pin.name}/",
                "comment": "any of the files with these hashes, as pinned in requirements.txt",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in pin.hashes],
            }
            component.setdefault("externalReferences", []).append(files)
            kept.append(component)
    bill["components"] = kept


def _describe_project(bill: dict[str, Any]) -> None:
    """Name the release and what it asks for itself; drop edges to packages that are not in it."""
    project = bill["metadata"]["component"]
    source = (ROOT / "pipelines" / "__init__.py").read_text("utf-8")
    project["version"] = re.findall(r'__version__ = "(.+)"', source)[0]
    wanted = re.findall(r"^([\w.-]+)", (ROOT / "requirements.in").read_text("utf-8"), re.MULTILINE)
    references = {canonicalize_name(each["name"]): each["bom-ref"] for each in bill["components"]}
    own = {
        "ref": project["bom-ref"],
        "dependsOn": sorted(references[canonicalize_name(name)] for name in wanted),
    }
    known = set(references.values())
    others = [
        each | ({"dependsOn": needed} if needed else {})
        for each in bill["dependencies"]
        if each["ref"] in known
        for needed in [sorted({*each.pop("dependsOn", [])} & known)]
    ]
    bill["dependencies"] = [own, *others]
