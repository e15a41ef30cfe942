"""The verdict of a day: fit, fit with remarks or not fit, from its findings by rule.

The rules are in `expectations/policy/verdict.yml`: the severity of each finding and its words.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from expectations import policy
from expectations.policy_types import Severity
from pipelines.core.formats import count, without_personal
from pipelines.core.translation import Text, join, text

MAX_REASONS = 3
"""Reasons that the first lines of the page and the end of a run name."""
MAX_PLACES = 5
"""Places that a finding names."""
LABELS: dict[Severity, Text] = {
    "fit": text("fit"),
    "remark": text("fit with remarks"),
    "not_fit": text("not fit"),
}
"""Most severe finding -> the verdict in words."""
VERDICTS: dict[Severity, str] = {"fit": "fit", "remark": "remarks", "not_fit": "not_fit"}
"""Most severe finding -> the verdict in `quality.json` and `run --json`."""
ORDER: tuple[Severity, ...] = ("not_fit", "remark", "fit")


@dataclass(frozen=True)
class Finding:
    """One sentence that a reader should not miss: what, how much, where, and what to do."""

    id: str
    """The rule in `expectations/policy/verdict.yml`."""
    severity: Severity
    title: str
    evidence: str = ""
    amount: int | None = None
    where: str = ""
    """Sources, files, folders or institutions."""
    action: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer to the question whether the day's files may be used."""

    severity: Severity
    reasons: tuple[Finding, ...] = ()
    """The most important findings of that severity."""
    others: int = 0
    """Further findings of that severity."""

    @property
    def name(self) -> str:
        """Return the verdict as programs read it: fit, remarks or not_fit."""
        return VERDICTS[self.severity]

    @property
    def label(self) -> str:
        """Return the verdict in words."""
        return LABELS[self.severity]


def make_finding(
    rule_id: str, evidence: str = "", *, amount: int | None = None, where: str = "", **words: str
) -> Finding:
    """Return the finding of a rule; one without a rule becomes `finding_unknown`.

    Args:
        rule_id: The id in `expectations/policy/verdict.yml`.
        evidence: The details, in one or two sentences.
        amount: How many rows, files, leads or institutions it concerns.
        where: Their sources, files or folders.
        words: The figures that the wording of the rule names, besides `count` and `sources`.
    """
    rules = policy.verdict_rules()
    if rule_id not in rules:
        evidence = join([f"`{rule_id}`", evidence], ": ") if evidence else f"`{rule_id}`"
        rule_id = "finding_unknown"
    rule = rules[rule_id]
    figures = {"count": count(amount), "sources": where or text("an unknown source")} | words
    title, action = Text.fill(rule.wording, figures), Text.fill(rule.action, {})
    return Finding(rule_id, rule.severity, title, evidence, amount, where, action)


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return `findings`, most severe and most important first; else in their order."""
    rules = policy.verdict_rules()
    return tuple(sorted(findings, key=lambda f: (ORDER.index(f.severity), rules[f.id].importance)))


def decide(findings: Iterable[Finding]) -> Verdict:
    """Return the verdict that follows from `findings`, with its most important reasons.

    A rule is named again only after every other one: 40 rejected files don't hide that the rates
    of a lender changed.
    """
    ranked = sort_findings(findings)
    severity: Severity = ranked[0].severity if ranked else "fit"
    if severity == "fit":
        return Verdict("fit")
    reasons = [finding for finding in ranked if finding.severity == severity]
    first = {finding.id: finding for finding in reversed(reasons)}
    reasons.sort(key=lambda finding: finding is not first[finding.id])
    return Verdict(severity, tuple(reasons[:MAX_REASONS]), len(reasons[MAX_REASONS:]))


def name_places(places: Iterable[str]) -> str:
    """Return the first places, sorted, and the number of the others."""
    names = sorted({without_personal(place) for place in places})
    first = ", ".join(names[:MAX_PLACES])
    if not names[MAX_PLACES:]:
        return first
    return text("{places} and {number} more", places=first, number=len(names) - MAX_PLACES)
