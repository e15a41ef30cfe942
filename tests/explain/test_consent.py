"""The dossier of a match has what the person agreed to, who received the lead, what came since."""

import hashlib
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from expectations import policy
from expectations.policy_types import ConsentTexts
from pipelines.billing.follow_up import follow_up
from pipelines.cli.app import main
from pipelines.core.errors import InputMissing
from pipelines.core.settings import Settings
from pipelines.explain import explain_match, format_explanation
from tests.helpers.delivered_home import match, receipt, write_delivered_day, write_quiet_day
from tests.helpers.lake import at

DAY = date(2026, 3, 2)
NEXT = DAY + timedelta(days=1)
WORDS = {"zh": "\u6211\u540c\u610f", "en": "I agree"}
HASHES = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in WORDS.items()}
MATCH = match(1, "bank-a", "lead")


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> None:
    """A register with two languages of one version, and the version before it."""
    texts = [
        {"version": "v3", "sha256": HASHES[name], "from": "2026-03-01", "jurisdiction": "CN",
         "language": name, "text": text, "source": "legal"}
        for name, text in WORDS.items()
    ]  # fmt: skip
    old = texts[0] | {"from": "2025-01-01", "to": "2026-02-28"}
    stated = {"decided_on": "2026-03-01", "source": "legal", "unknown_version": "close"}
    found = ConsentTexts.model_validate(stated | {"texts": [*texts, old]})
    monkeypatch.setattr(policy, "consent_texts", lambda: found)


def deliver(tmp_path: Path, **consent: Any) -> Settings:
    """Return a home in which a lead with this consent was delivered, acknowledged, and followed."""
    settings = Settings(home=tmp_path, threads=1)
    lead = {"channel_id": "search", "lead_id": "L1", "consent_version": "v3"}
    lead |= {"consent_at": at("2026-03-02 09:29"), "consent_scope": ["bank-a", "bank-b"]}
    write_delivered_day(settings, DAY, [MATCH], leads=[lead | consent])
    follow_up(settings, DAY)
    return settings


@pytest.mark.usefixtures("register")
def test_the_dossier_has_text_time_scope_evidence_and_receiver(tmp_path):
    proof = {"consent_text_sha256": HASHES["zh"].upper(), "consent_purpose": "a loan"}
    settings = deliver(tmp_path, **proof, consent_evidence="certificate 17")
    write_quiet_day(settings, NEXT, receipts=[receipt(settings, DAY, "bank-a")])
    follow_up(settings, NEXT)
    dossier = explain_match(settings, DAY, MATCH["match_id"])
    consent = dossier["consent"]
    assert (consent["given_at"], consent["evidence"]) == (
        "2026-03-02T01:29:00+00:00",
        "certificate 17",
    )
    assert consent["covers_institution"] is True
    shown = [text for text in consent["texts"] if text["is_shown"]]
    assert [(text["language"], text["text"]) for text in shown] == [("zh", WORDS["zh"])]
    assert [text["language"] for text in consent["texts"]] == ["zh", "en"]  # none of another time
    assert (dossier["delivery_id"], dossier["state"]) == ("20260302-bank-a", "received")
    events = [(event["event"], event["known_on"]) for event in dossier["history"]]
    assert events[-1] == ("received", f"{NEXT}")
    assert ("sent", f"{DAY}") in events
    text = format_explanation(dossier)
    assert WORDS["zh"] in text
    assert HASHES["zh"] in text
    assert "given 2026-03-02T01:29:00+00:00 for bank-a, bank-b" in text
    assert "it covers bank-a" in text
    json.dumps(dossier)


@pytest.mark.usefixtures("register")
@pytest.mark.parametrize(
    ("proof", "words"),
    [
        (None, "the channel sent no hash of the text"),
        ("f" * 64, "is in no register"),
    ],
)
def test_what_is_not_proven_is_named(tmp_path, proof, words):
    settings = deliver(tmp_path, consent_text_sha256=proof, consent_scope=["bank-b"])
    dossier = explain_match(settings, DAY, MATCH["match_id"])
    assert not any(text["is_shown"] for text in dossier["consent"]["texts"])
    text = format_explanation(dossier)
    assert words in text
    assert "does NOT cover bank-a" in text


def test_a_later_withdrawal_and_its_notice_are_in_the_dossier(tmp_path):
    settings = deliver(tmp_path)
    withdrawn = {
        "channel_id": "search",
        "lead_id": "L1",
        "consent_withdrawn_at": at("2026-03-03 10:00"),
    }
    write_quiet_day(settings, NEXT, leads=[withdrawn])
    follow_up(settings, NEXT)
    dossier = explain_match(settings, DAY, MATCH["match_id"])
    (later,) = dossier["later"]
    assert (later["known_on"], later["withdrawn_at"]) == (f"{NEXT}", "2026-03-03T02:00:00+00:00")
    (notice,) = dossier["notices"]
    assert (notice["kind"], notice["sent_on"]) == ("withdrawal", f"{NEXT}")
    assert "notice of 2026-03-03 to the institution: withdrawal" in format_explanation(dossier)


def test_an_unknown_match_and_a_wrong_use_are_refused(tmp_path, capsys):
    settings = deliver(tmp_path)
    with pytest.raises(InputMissing, match="has no match nothing"):
        explain_match(settings, DAY, "nothing")
    verb = ["explain", "--home", f"{tmp_path}", "--date", f"{DAY}"]
    assert main([*verb, "--match", MATCH["match_id"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lead_id"] == "L1"
    assert main([*verb, "--match", "x", "--lead", "search/L1"]) == 2
    assert main(verb) == 2
