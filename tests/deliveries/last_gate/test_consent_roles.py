"""The last gate reads who consented for a business from the lake and from what landed since."""

from pathlib import Path

import pytest

from expectations import policy
from expectations.policy_types import ConsentRole
from pipelines.core.settings import Settings
from tests.deliveries.last_gate.test_planted_violations import (  # noqa: F401 - a fixture
    Row,
    check,
    delivered,
    outgoing,
)
from tests.helpers.representatives import keep

FIRM = {"segment": "business"}
ENTRY = {"from": "1900-01-01", "missing_role": "allow", "source": "test"}
ENTRY |= {"may_consent": ["owner", "authorised_agent"]}


def make_policy(**changes: Row) -> dict[str, ConsentRole]:
    """Return the roles by jurisdiction, each entry as `ENTRY` with its changes."""
    entries = {"default": {}, "CN": {}} | changes
    return {
        name: ConsentRole.model_validate(ENTRY | {"jurisdiction": name} | change)
        for name, change in entries.items()
    }


@pytest.mark.parametrize(
    ("change", "entries", "is_stopped"),
    keep(
        (0, 2, 3, 4, 6, 8),
        [
            ({"consent_by_role": "owner"}, {}, False),
            ({"consent_by_role": " Authorised  Agent"}, {}, False),
            ({"consent_by_role": "employee"}, {}, True),
            ({"consent_by_role": "ownr"}, {}, True),
            ({"consent_by_role": "employee", "segment": "consumer"}, {}, False),
            ({"consent_by_role": None}, {}, False),
            ({"consent_by_role": None}, {"CN": {"missing_role": "close"}}, True),
            ({"consent_by_role": "employee"}, {"CN": {"may_consent": ["employee"]}}, False),
            # a region that no entry lists needs what all entries allow
            (
                {"consent_by_role": "employee", "region": "NC-31"},
                {"CN": {"may_consent": ["employee"]}},
                True,
            ),
            (
                {"consent_by_role": "owner", "region": None},
                {"CN": {"may_consent": ["employee"]}},
                True,
            ),
            ({"consent_by_role": None, "region": None}, {"CN": {"missing_role": "close"}}, True),
        ],
    ),
)
def test_a_role_that_may_not_consent_is_stopped(
    delivered: Settings,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Row,
    entries: dict[str, Row],
    is_stopped: bool,
):
    monkeypatch.setattr(policy, "consent_roles_on", lambda _: make_policy(**entries))
    with outgoing(delivered, 5) as out:
        out.change_lead(**FIRM | {"region": "CN-31"} | change)
        found = {violation.kind for violation in check(out, tmp_path)}
    assert found == ({"consent_role_not_allowed"} if is_stopped else set())


@pytest.mark.parametrize(
    ("loaded", "landed", "is_stopped"),
    [
        ("owner", "employee", True),
        (None, "employee", True),
        ("owner", "legal_representative", False),
        ("owner", "OWNER", False),
        ("owner", "", False),
        (None, "owner", False),
    ],
)
def test_a_copy_that_landed_a_minute_ago_disputes_the_role(
    delivered: Settings,  # noqa: F811
    tmp_path: Path,
    loaded: str | None,
    landed: str,
    is_stopped: bool,
):
    with outgoing(delivered, 5) as out:
        out.change_lead(**FIRM, consent_by_role=loaded)
        out.land("leads", {"lead_id": out.lead["lead_id"], "consent_by_role": landed})
        found = {violation.kind for violation in check(out, tmp_path)}
    assert found == ({"consent_role_not_allowed"} if is_stopped else set())
