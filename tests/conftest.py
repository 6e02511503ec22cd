"""For all tests: in CI, what CI can provide must not be skipped."""

from __future__ import annotations

import os

import pytest

# Reasons that remain in CI: a real Jeedom and the collection of facts are not part of it.
ALLOWED_IN_CI = ("JEEDOM_ROOT", "../shared/chargers")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if os.environ.get("EVCHARGER_CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = str(call.excinfo.value) if call.excinfo else ""
        if not any(allowed in reason for allowed in ALLOWED_IN_CI):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI: {reason}"
    return report
