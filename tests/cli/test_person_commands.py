"""The verbs about a person take what names the person from standard input, and print JSON."""

import io
import json
import shutil
from pathlib import Path

import pytest

from pipelines.cli.app import main
from pipelines.core.settings import Settings
from tests.helpers.delivered_home import FIRST
from tests.helpers.person_home import id_number, list_values, phone, write_home
from tests.helpers.raw_search import find_values

WHO = ("--by", "ann", "--reason", "ticket 12")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return write_home(tmp_path_factory.mktemp("home"))


@pytest.fixture
def home(template: Settings, tmp_path: Path) -> Path:
    shutil.copytree(template.home, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Run a verb with lines on standard input; return its exit code, result and messages."""

    def call(*words: str, lines: str = "") -> tuple[int, dict, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(lines))
        code = main((*words, "--home", str(home)))
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        return code, json.loads(lines[-1]) if lines else {}, printed.err

    return call


def test_find_lists_the_leads_of_each_line(run):
    code, found, _ = run("person", "find", "--phone", "--json", lines=f"{phone(2)}\n")
    assert (code, len(found["persons"])) == (0, 1)
    assert run("person", "find", "--phone", "--json", lines="+8613900000000\n")[0] == 1


def test_find_and_retention_print_text_alone_unless_json_is_asked_for(home, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{phone(2)}\n+8613900000000\n"))
    assert main(("person", "find", "--phone", "--home", str(home))) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("line 1: 1 lead\n")
    assert printed.err == "1 line names nobody who is known.\n"
    assert main(("retention", "--date", f"{FIRST}", "--home", str(home))) == 0
    due = capsys.readouterr().out
    assert "0 dates due, 0 overdue" in due
    assert "leads        The lead itself, its consent" in due
    assert "{" not in printed.out + due


def test_find_needs_one_name(run):
    assert run("person", "find")[0] == 2
    assert run("person", "find", "--phone", "--lead")[0] == 2


def test_export_writes_two_files_outside_of_the_home(run, tmp_path):
    line = f"{id_number(2)}\n"
    words = ("person", "export", "--id-number", "--to", str(tmp_path / "out"))
    code, written, _ = run(*words, lines=line)
    assert code == 0
    assert sorted(Path(name).name for name in written["files"]) == ["person.html", "person.json"]


def test_erase_leaves_nothing_and_prints_the_proof(run, home):
    code, proof, _ = run("person", "erase", "--phone", *WHO, lines=f"{phone(2)}\n")
    assert code == 0
    assert proof["searched"]["found"] == 0
    left = find_values(home, set(list_values(2)))
    assert [path for path in left if ".notices." not in path] == []
    assert run("person", "erase", "--resume")[:2] == (0, {"completed": []})


def test_erase_needs_who_and_why(run, home):
    before = find_values(home, set(list_values(2)))
    code, _, messages = run("person", "erase", "--phone", lines=f"{phone(2)}\n")
    assert (code, "--by NAME and --reason TEXT" in messages) == (2, True)
    assert find_values(home, set(list_values(2))) == before


def test_restrict_stops_and_lifts(run):
    code, entry, _ = run("person", "restrict", "--phone", *WHO, lines=f"{phone(3)}\n")
    assert code == 0
    assert entry["also_restricted_by"] == []
    again = run("person", "restrict", "--phone", *WHO, lines=f"{phone(3)}\n")[1]
    assert again["also_restricted_by"] == [entry["id"]]
    in_force = run("person", "restrict", "--list")[1]["in_force"]
    assert [(each["id"], each["by"]) for each in in_force] == [
        (entry["id"], "ann"),
        (again["id"], "ann"),
    ]
    lifted = run("person", "restrict", "--lift", entry["id"], *WHO)[1]
    assert lifted["still_restricted_by"] == [again["id"]]
    assert run("person", "restrict", "--lift", again["id"], *WHO)[1]["still_restricted_by"] == []
    assert run("person", "restrict", "--list")[1] == {"in_force": []}


@pytest.mark.parametrize("verb", ["erase", "restrict"])
def test_a_reason_names_no_person(run, home, verb):
    for reason in ("call 15924138640", "call 159 2413 8640", "id 110105 19491231 002X", "a@b.cn"):
        words = ("--phone", "--by", "ann", "--reason", reason)
        code, _, messages = run("person", verb, *words, lines=f"{phone(3)}\n")
        assert (code, "Nothing was recorded" in messages) == (2, True), reason
    assert not Settings(home=home).persons.exists()


def test_contest_is_open_until_a_human_decides(run):  # words: keep - the verb's name
    verb = ("person", "contest")  # words: keep - the verb's name
    words = (*verb, "--phone", "--date", f"{FIRST}", *WHO)
    code, entry, _ = run(*words, lines=f"{phone(2)}\n")
    assert code == 0
    assert [each["id"] for each in run(*verb, "--list")[1]["open"]] == [entry["id"]]
    assert run(*verb, "--decide", entry["id"], "--result", "upheld", *WHO)[0] == 0
    assert run(*verb, "--list")[1] == {"open": []}


def test_retention_removes_nothing_that_is_due_in_years_to_come(run, home):
    before = find_values(home, set(list_values(2)))
    words = ("--apply", "--date", f"{FIRST.year + 40}-01-01", "--by", "ann")
    code, _, messages = run("retention", *words)
    assert (code, "Nothing was removed" in messages) == (2, True)
    assert find_values(home, set(list_values(2))) == before


def test_retention_lists_what_is_due(run):
    code, due, _ = run("retention", "--date", f"{FIRST}", "--json")
    assert code == 0
    assert due
