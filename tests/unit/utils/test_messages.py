"""repmgr's log lines."""

import pytest

from saltext_repmgr.utils import messages
from tests.unit import recorded

VERSIONS = pytest.mark.parametrize("version", recorded.VERSIONS)


@VERSIONS
def test_an_error_keeps_the_lines_that_explain_it(version):
    refused = recorded.one(version, "offline", "rec1", "cluster show --csv")
    error, reason, parameters = messages.complaint(refused.stderr)
    assert error == "ERROR: connection to database failed"
    assert reason.startswith("DETAIL: ") and "Connection refused" in reason
    assert parameters.startswith("DETAIL: attempted to connect using:\n")


@VERSIONS
def test_hints_belong_to_the_complaint(version):
    empty = recorded.one(version, "build", "rec1", "cluster show --csv")
    assert messages.complaint(empty.stderr) == [
        "ERROR: no node records were found",
        "HINT: ensure at least one node is registered",
    ]


@VERSIONS
def test_all_mistakes_of_a_configuration_file_are_one_complaint(version):
    bad = recorded.one(version, "bad_config", "rec1-bad", "--dump-config")
    (complaint,) = messages.complaint(bad.stderr)
    for key in ("node_id", "priority", "failover", "data_directory", "conninfo"):
        assert f'"{key}"' in complaint


@VERSIONS
def test_mistakes_without_a_level(version):
    options = recorded.one(version, "offline", "rec1", "cluster show --csv --nagios")
    (complaint,) = messages.complaint(options.stderr)
    assert "only one of --csv, --nagios and --optformat can be used" in complaint
    root = recorded.one(version, "offline", "root", "cluster show --csv")
    (complaint,) = messages.complaint(root.stderr)
    assert complaint.startswith("repmgr: cannot be run as root")


def test_the_second_error_is_not_part_of_the_first():
    stderr = "INFO: a\nERROR: b\nDETAIL: \nERROR:  quoted\n\nHINT: c\nERROR: d\nDETAIL: e\n"
    assert messages.complaint(stderr) == ["ERROR: b", "DETAIL: ERROR:  quoted", "HINT: c"]


def test_no_error_no_complaint():
    assert messages.complaint("INFO: a\nWARNING: b\n") == []


@VERSIONS
def test_told(version):
    done = recorded.one(version, "rejoin", "rec1", "node service --action=reload")
    assert messages.told(done.stderr) == []
    done = recorded.one(version, "build", "rec1", "primary register")
    assert messages.told(done.stderr) == ["NOTICE: primary node record (ID: 1) registered"]


@VERSIONS
def test_issues(version):
    shown = recorded.one(version, "detached", "rec1", "cluster show")
    assert messages.issues(shown.stderr) == [
        'node "rec2" (ID: 2) is not attached to its upstream node "rec1" (ID: 1)'
    ]
    shown = recorded.one(version, "healthy", "rec1", "cluster show")
    assert messages.issues(shown.stderr) == []
