"""The audit's modules, which are outside of the packages."""

import sys
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import pytest

from pipelines.core.settings import PROJECT


class Audit(NamedTuple):
    """The modules of `.ci/audit`."""

    advisories: ModuleType
    bill_of_materials: ModuleType
    licences: ModuleType
    pins: ModuleType
    policy: ModuleType
    secret_scan: ModuleType


@pytest.fixture(scope="session")
def audit() -> Audit:
    sys.path.insert(0, str(PROJECT / ".ci" / "audit"))
    try:
        return Audit(*(import_module(name) for name in Audit._fields))
    finally:
        sys.path.pop(0)
