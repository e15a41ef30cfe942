"""The pages in a real browser: no request, no error, no overflow, and nothing that axe-core finds.

axe-core comes from the npm index, pinned in `package-lock.json`; nothing else needs Node.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.core.settings import Settings
from pipelines.reports.publish_report import report
from tests.docs.picture import start_chromium
from tests.helpers.day import run_matching, write_day_before_matching
from tests.helpers.published_day import DAY, publish_day

pytestmark = pytest.mark.prove

HERE = Path(__file__).parent
WIDTHS = (390, 1280)
MEASURE = """
frame.onload = async () => {
  const page = frame.contentDocument, root = page.documentElement;
  const found = {
    width: root.scrollWidth,
    requests: frame.contentWindow.performance.getEntriesByType("resource").length,
    hidden: [...page.querySelectorAll("section")].filter((part) => !part.offsetHeight).length,
    violations: [],
  };
  const axe = frame.contentWindow.axe;
  if (axe) {
    const result = await axe.run(page, {resultTypes: ["violations"]});
    found.violations = result.violations.map((each) =>
      `${each.id} (${each.nodes.length}): ${each.nodes[0].html.slice(0, 120)}`);
  }
  document.getElementById("found").textContent = JSON.stringify(found);
};
"""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, by `npm ci`."""
    folder = tmp_path_factory.mktemp("npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of two days: one with refused files, and one that was really matched."""
    settings = publish_day(tmp_path_factory.mktemp("published"))
    report(settings, DAY)
    matched = write_day_before_matching(tmp_path_factory.mktemp("matched"), DAY, leads=600)
    run_matching(matched, DAY)
    report(matched, DAY)
    for language in ("", ".zh"):
        shutil.copy(
            Settings(home=matched.home).reports / f"date={DAY}" / f"index{language}.html",
            settings.reports / f"matched{language}.html",
        )
    return settings.reports


PAGES = [
    f"{stem}{language}.html"
    for stem in (f"date={DAY}/index", "matched", "index", "weeks/2026-W47", "months/2026-11")
    for language in ("", ".zh")
]


def look(page: str, folder: Path, width: int, script: str = "") -> tuple[dict, str]:
    """Return what a browser measures of `page` at `width`, and what it logs."""
    inside = page.replace("</body>", f"<script>{script}</script></body>") if script else page
    if script:  # the page itself allows none
        inside = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", inside)
    path = folder / "frame.html"
    source = json.dumps(inside).replace("</", "<\\/")
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><pre id="found"></pre>'
        f'<iframe id="frame" width="{width}" height="900" style="border:0"></iframe>'
        f"<script>const frame = document.getElementById('frame'); {MEASURE}"
        f"frame.srcdoc = {source};</script>",
        "utf-8",
    )
    process = start_chromium(
        *("--enable-logging=stderr", "--window-size=1400,1000", "--dump-dom", f"file://{path}"),
        wait_ms=60_000,
    )
    found = re.search(r'<pre id="found">(.*?)</pre>', process.stdout, re.DOTALL)
    assert found, process.stderr[-2000:]
    assert found[1], process.stderr[-2000:]
    return json.loads(html.unescape(found[1])), process.stderr


@pytest.mark.parametrize("name", PAGES)
def test_a_page_requests_nothing_logs_nothing_and_fits(reports: Path, tmp_path: Path, name: str):
    page = (reports / name).read_text("utf-8")
    for width in WIDTHS:
        found, log = look(page, tmp_path, width)
        assert found["width"] <= width
        assert (found["requests"], found["hidden"]) == (0, 0)
        assert "CONSOLE" not in log


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(reports: Path, tmp_path: Path, axe: str, name: str):
    found, _ = look((reports / name).read_text("utf-8"), tmp_path, 1280, axe)
    assert found["violations"] == []
