"""Check the pinned packages against published advisories with pip-audit."""

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from policy import Policy

Advisories = dict[str, list[dict[str, Any]]]
"""Package -> its advisories, as OSV writes them (https://ossf.github.io/osv-schema/)."""

EXAMPLE = "https://osv-vulnerabilities.storage.googleapis.com/PyPI/all.zip"


class NotCheckedError(Exception):
    """The advisories could not be read, so nothing is known about the packages."""


def check_advisories(requirements: Path, policy: Policy, file: Path | None) -> list[str]:
    """Return a line for each known vulnerability of a pinned package that is not accepted.

    Args:
        requirements: The file with pins.
        policy: The accepted advisories.
        file: OSV's export of the advisories of PyPI; None: the index's own service.

    Raises:
        NotCheckedError: Some package could not be checked.
    """
    if file is None:
        report = _run_pip_audit(requirements, "--vulnerability-service", "pypi")
    else:
        with serve_advisories(load_advisories(file)) as url:
            report = _run_pip_audit(
                requirements, "--vulnerability-service", "osv", "--osv-url", url
            )
    accepted = {(each.package, each.id): each for each in policy.accepted_advisories}
    problems, seen = [], set()
    for package in report["dependencies"]:
        for found in package["vulns"]:
            ids = [found["id"], *found["aliases"]]
            keys = [(package["name"], each) for each in ids if (package["name"], each) in accepted]
            seen.update(keys)
            if not keys or any(accepted[key].has_ended for key in keys):
                problems.append(
                    f"{package['name']} {package['version']}: {', '.join(ids)}; mended in "
                    f"{', '.join(found['fix_versions']) or 'no release'}; take it by `make pin`, "
                    "or accept the advisory in policy.yml with a reason and a date"
                )
    return problems + [
        f"{package}: the accepted advisory {each} no longer applies; remove it from policy.yml"
        for package, each in accepted.keys() - seen
    ]


def _run_pip_audit(requirements: Path, *options: str) -> dict[str, Any]:
    """Return pip-audit's report on every pin.

    Raises:
        NotCheckedError: It gave none, or passed a package over.
    """
    with tempfile.TemporaryDirectory() as cache:
        audit = subprocess.run(  # noqa: S603
            [
                *(sys.executable, "-m", "pip_audit", "--requirement", str(requirements)),
                *("--no-deps", "--disable-pip", "--format", "json", "--aliases", "on"),
                *("--desc", "off", "--progress-spinner", "off", "--cache-dir", cache, *options),
            ],
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    try:
        report: dict[str, Any] = json.loads(audit.stdout)
    except ValueError:
        last = audit.stderr.strip().splitlines()[-1:] or ["no message"]
        raise NotCheckedError(f"pip-audit gave no report: {last[0]}") from None
    skipped = [each for each in report["dependencies"] if "skip_reason" in each]
    if skipped:
        raise NotCheckedError(
            f"{len(skipped)} of {len(report['dependencies'])} packages were passed over, the first "
            f"because: {skipped[0]['skip_reason']}"
        )
    return report


def load_advisories(path: Path) -> Advisories:
    """Return the advisories of OSV's export: a zip file, or a folder, of JSON files.

    Raises:
        NotCheckedError: There is no such file, or it has no advisory.
    """
    try:
        if path.is_dir():
            texts = [each.read_text("utf-8") for each in sorted(path.glob("**/*.json"))]
        else:
            with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
                names = sorted(name for name in archive.namelist() if name.endswith(".json"))
                texts = [archive.read(name).decode("utf-8") for name in names]
        records = [json.loads(text) for text in texts]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise NotCheckedError(f"{path} can't be read as OSV's export: {error}") from None
    advisories: Advisories = {}
    for record in records:
        packages = [
            affected["package"]
            for affected in record.get("affected", [])
            if affected.get("package", {}).get("ecosystem") == "PyPI"
        ]
        for package in packages:  # pip-audit looks for the repaired release by the canonical name
            package["name"] = canonicalize_name(package["name"])
        for name in {package["name"] for package in packages}:
            advisories.setdefault(name, []).append(record)
    if not advisories:
        raise NotCheckedError(f"{path} has no advisory about a package of PyPI")
    return advisories


@contextmanager
def serve_advisories(advisories: Advisories) -> Iterator[str]:
    """Answer OSV's queries from `advisories` on this machine; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            query = json.loads(self.rfile.read(length))
            name = canonicalize_name(query["package"]["name"])
            found = [
                record
                for record in advisories.get(name, [])
                if is_affected(record, name, query["version"])
            ]
            body = json.dumps({"vulns": found} if found else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            """Log nothing: pip-audit asks once for each package."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        server.server_close()


def is_affected(record: dict[str, Any], name: str, version: str) -> bool:
    """Return whether an advisory concerns a release: it is listed, or within a range.

    A range that can't be read counts as one that includes the release.
    """
    if record.get("withdrawn"):
        return False
    for affected in record["affected"]:
        package = affected.get("package", {})
        if package.get("ecosystem") != "PyPI" or package["name"] != name:
            continue
        ranges = [each for each in affected.get("ranges", []) if each["type"] == "ECOSYSTEM"]
        if version in affected.get("versions", []) or any(
            _is_within(each["events"], version) for each in ranges
        ):
            return True
    return False


def _is_within(events: list[dict[str, str]], version: str) -> bool:
    """Return whether `version` lies between an introduction and the repair that follows it."""
    try:
        release = Version(version)
        points = sorted(
            ((Version(point), kind) for event in events for kind, point in event.items()),
            key=lambda each: each[0],
        )
    except InvalidVersion:
        return True
    inside = False
    for point, kind in points:
        if kind == "introduced" and point <= release:
            inside = True
        elif (kind == "fixed" and point <= release) or (
            kind == "last_affected" and point < release
        ):
            inside = False
    return inside
