"""Exit codes: names, and what is an answer."""

import pytest

from saltext_repmgr.utils import errcodes
from saltext_repmgr.utils.errcodes import ExitCode
from saltext_repmgr.utils.errcodes import NagiosCode
from tests.unit import recorded


def test_the_codes_are_those_of_errcode_h():
    assert [code.value for code in ExitCode] == list(range(29))
    assert ExitCode.NODE_STATUS == 25
    assert ExitCode.SWITCHOVER_INCOMPLETE == 22
    assert ExitCode.PGBACKUPAPI == 28


@pytest.mark.parametrize("code, name", [(6, "DB_CONN"), (25, "NODE_STATUS"), (137, "UNKNOWN")])
def test_name_of(code, name):
    assert errcodes.name_of(code) == name


@pytest.mark.parametrize("action", sorted(errcodes.REPORTING_ACTIONS))
def test_trouble_that_is_reported_is_an_answer(action):
    assert errcodes.answers(action) == {0, 25}


@pytest.mark.parametrize("action", ["service status", "standby follow", "cluster event"])
def test_elsewhere_only_success_is_an_answer(action):
    assert errcodes.answers(action) == {0}


def test_a_single_check_answers_with_nagios_codes():
    assert errcodes.answers("node check", single_check=True) == set(NagiosCode) == {0, 1, 2, 3}


def test_every_recorded_code_is_known():
    assert {errcodes.name_of(r.code) for r in recorded.every()} >= {"DB_CONN", "NODE_STATUS"}
    for recording in recorded.every():
        assert errcodes.name_of(recording.code) != "UNKNOWN", recording


def test_25_always_comes_with_the_answer():
    reported = [r for r in recorded.every() if r.code == ExitCode.NODE_STATUS]
    assert len(reported) > 50
    for recording in reported:
        action = " ".join(recording.arguments.split()[:2])
        assert recording.stdout.strip(), recording
        assert recording.code in errcodes.answers(action), recording
