"""The picture in the README: the report of a simulated day, by headless Chromium.

    python -m tests.docs.picture

simulates the market of `make run`, runs its last day and writes docs/report.png.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pipelines.core.settings import PROJECT

PICTURE = PROJECT / "docs" / "report.png"
WIDTH, HEIGHT = 1180, 1000
"""Pixels of the picture: the first lines of the report."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
MARKET = ("--start", "2026-01-05", "--days", "30", "--leads-per-day", "2000")
DAY = "2026-02-03"


def run_chromium(*arguments: str, wait_ms: int = 5_000) -> str:
    """Run headless Chromium with a profile of its own; return what it prints.

    Raises:
        SystemExit: No Chromium is installed, or it failed.
    """
    return start_chromium(*arguments, wait_ms=wait_ms).stdout


def start_chromium(*arguments: str, wait_ms: int) -> subprocess.CompletedProcess[str]:
    """Run headless Chromium as `run_chromium` does; return the process with all its output."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        raise SystemExit(
            f"None of {', '.join(NAMES)} is installed, so no picture was made. Install Chromium."
        )
    with tempfile.TemporaryDirectory() as profile:
        process = subprocess.run(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={profile}", f"--virtual-time-budget={wait_ms}", *arguments),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if process.returncode:
        raise SystemExit(f"{program} ended with {process.returncode}: {process.stderr[-500:]}")
    return process


def draw(page: Path, picture: Path) -> None:
    """Write the first lines of `page` as a picture."""
    size = f"--window-size={WIDTH},{HEIGHT}"
    run_chromium(size, f"--screenshot={picture}", f"file://{page}")


def run_market(home: Path, *market: str, day: str = DAY) -> Path:
    """Simulate a market in `home`, run its last day and return the page of its report."""
    for words in (("simulate", *market), ("run", "--date", day)):
        command = [sys.executable, "-m", "pipelines", *words, "--home", f"{home}"]
        subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    return home / "reports" / f"date={day}" / "index.html"


def main() -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as home:
        draw(run_market(Path(home), *MARKET), PICTURE)
    sys.stdout.write(f"{PICTURE}\n")


if __name__ == "__main__":
    main()
