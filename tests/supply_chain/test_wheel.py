"""The wheel has the whole product, and runs a day away from the clone."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from pipelines.core.settings import PROJECT

PACKAGES = ("dags", "dbt_project", "expectations", "models", "pipelines")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(PROJECT)], check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_has_every_tracked_file_of_the_packages(wheel: Path):
    listed = subprocess.run(
        ["git", "ls-files", "--", *PACKAGES],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = set(listed.stdout.splitlines())
    assert {"models/params.yml", "dbt_project/dbt_project.yml"} <= tracked
    assert tracked - names == set()


@pytest.mark.prove
def test_an_installed_wheel_runs_a_day_in_an_empty_folder(wheel: Path, tmp_path: Path):
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = tmp_path / "env" / "lib" / version / "site-packages"
    # this environment's packages are not installed again
    here = [sysconfig.get_path("purelib"), *(p for p in sys.path if p.endswith("site-packages"))]
    (packages / "shared.pth").write_text("\n".join(dict.fromkeys(here)) + "\n")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([python, *install], check=True, capture_output=True)
    installed = {path for path in packages.rglob("*") if "__pycache__" not in path.parts}

    folder = tmp_path / "empty"
    folder.mkdir()
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BANYAN_", "PYTHON"))
    }

    def banyan(*arguments: str) -> str:
        process = subprocess.run(
            [tmp_path / "env" / "bin" / "banyan", *arguments],
            cwd=folder,
            env=clean,
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.returncode == 0, process.stderr
        return process.stdout

    assert "Usage: banyan" in banyan("--help")
    market = ("--leads-per-day", "150", "--institutions", "8", "--channels", "3", "--seed", "7")
    banyan("simulate", "--start", "2026-03-01", "--days", "2", *market)
    banyan("run", "--date", "2026-03-01")
    assert list((folder / "var" / "outbox" / "date=2026-03-01").glob("*/leads.*"))
    assert list((folder / "var" / "reports").glob("date=*/index.html"))
    after = {path for path in packages.rglob("*") if "__pycache__" not in path.parts}
    assert after == installed
