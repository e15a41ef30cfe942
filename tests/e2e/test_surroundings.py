"""The surroundings of a run decide nothing, and every file of its home is the user's own."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import CompletedRun, copy_home
from tests.e2e.market import MONDAY, SUNDAY, banyan, run
from tests.e2e.published_bytes import differences


@pytest.mark.prove  # tests/core/test_environment.py has each variable by itself
def test_the_shell_of_an_engineer_with_a_gbk_locale_changes_no_byte(
    landed: Path, ran: CompletedRun, tmp_path: Path
):
    other = tmp_path / "100% 的 home"
    other.mkdir()
    copy_home(landed, other)
    run(
        *(other, SUNDAY, MONDAY),
        **gbk_locale(tmp_path),
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{tmp_path}/production.db",
        AIRFLOW_HOME=f"{tmp_path}/another",
        ALL_PROXY="socks5://127.0.0.1:9",
        DBT_PROFILES_DIR="/nowhere",
        DBT_TARGET="prod",
        DBT_WARN_ERROR="true",
        HOME="/proc/nowhere",
        OMP_NUM_THREADS="many",
        PYTHONPATH="/nowhere",
        PYTHONWARNINGS="error",
        TZ="Nowhere/Never",
        http_proxy="http://127.0.0.1:9",
    )
    assert differences(ran.home, other) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["100% 的 home", "locale"]


def gbk_locale(folder: Path) -> dict[str, str]:
    """Make the locale zh_CN.GBK in `folder`; without localedef, a locale of ASCII alone."""
    (folder / "locale").mkdir()
    made = folder / "locale" / "zh_CN.GBK"
    if not shutil.which("localedef"):
        return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run(
        ["localedef", "-i", "zh_CN", "-f", "GBK", made], check=False, capture_output=True
    )
    return {"LC_ALL": "zh_CN.GBK", "LOCPATH": f"{made.parent}"}


def test_every_file_of_a_home_is_readable_by_its_user_alone(ran: CompletedRun):
    modes = Counter((path.stat().st_mode & 0o777, path.is_dir()) for path in ran.home.rglob("*"))
    assert set(modes) == {(0o600, False), (0o700, True)}


@pytest.mark.parametrize(
    ("damaged", "advice"),
    [
        pytest.param(
            *(f"ledger/date={SUNDAY}.jsonl", f"> ledger/date={SUNDAY}.jsonl"),
            marks=pytest.mark.prove,
        ),
        pytest.param(
            *(f"lake/leads/date={SUNDAY}/manifest.json", "builds it again from landing/"),
            marks=pytest.mark.prove,
        ),
        pytest.param(
            *(f"marts/date={MONDAY}/leads.parquet", f"run --date {MONDAY}"),
            marks=pytest.mark.prove,
        ),
        (f"pairs/date={MONDAY}/manifest.json", f"run --date {MONDAY}"),
    ],
)
def test_a_torn_file_is_named_with_what_to_do(ran: CompletedRun, tmp_path, damaged, advice):
    home = copy_home(ran.home, tmp_path)
    path = home / damaged
    path.write_bytes(path.read_bytes()[:300])
    step = "ingest" if damaged.startswith(("ledger", "lake")) else "match"
    process = banyan(home, step, "--date", f"{MONDAY}")
    assert process.returncode == 1
    assert f"{path}" in process.stderr
    assert advice in process.stderr
    assert "Traceback" not in process.stderr


def test_a_changed_model_is_not_scored_with(ran: CompletedRun, tmp_path):
    home = copy_home(ran.home, tmp_path)
    path = max(home.glob("registry/as_of=*/*/model.json"))
    path.write_text(path.read_text("utf-8").replace("0", "1", 1), "utf-8")
    process = banyan(home, "score", "--date", f"{MONDAY}")
    assert process.returncode == 1
    assert f"{path} is damaged" in process.stderr
    assert "train the set again" in process.stderr
