"""modules.repmgr with a witness, on a server with the metadata that utils.metadata makes."""

import pytest

from saltext_repmgr.utils import metadata
from tests.functional.support import repmgr

RECORD = "SELECT type, active, upstream_node_id FROM repmgr.nodes WHERE node_id = 3"


@pytest.fixture(scope="module")
def server(pristine):
    metadata.create(pristine.reset().connect, repmgr.PASSWORD)
    repmgr.configure(pristine)
    yield pristine
    pristine.kill()


@pytest.fixture
def witness(server, primary):
    """A server that could become the witness; afterwards the primary knows nothing of it."""
    if server.pid is None:
        server.start()
    yield server
    primary.sql("DELETE FROM repmgr.nodes WHERE node_id = 3", "repmgr")
    if server.pid:
        # Its copy of the primary's records.
        server.sql("TRUNCATE repmgr.nodes", "repmgr")


def test_register_and_unregister(command, witness, primary):
    source = repmgr.conninfo(primary)
    done = command("witness_register", witness, conninfo=source, dry_run=True)
    assert (done["changed"], primary.sql(RECORD, "repmgr")) == (False, "")

    assert command("witness_register", witness, conninfo=source)["changed"] is True
    assert primary.sql(RECORD, "repmgr") == witness.sql(RECORD, "repmgr") == "witness|t|1"
    found = command("cluster_show", witness)
    assert found["healthy"] is True
    assert found["nodes"][-1] == {"node_id": 3, "reachable": True, "in_recovery": False}
    assert command("witness_register", witness, conninfo=source, force=True)["changed"] is True

    assert command("witness_unregister", witness, dry_run=True)["changed"] is False
    assert primary.sql(RECORD, "repmgr") == "witness|t|1"
    assert command("witness_unregister", witness)["changed"] is True
    assert primary.sql(RECORD, "repmgr") == ""


def test_a_witness_that_is_gone_is_unregistered_from_elsewhere(command, witness, primary):
    command("witness_register", witness, conninfo=repmgr.conninfo(primary))
    witness.kill()
    done = command("witness_unregister", primary, node_id=3, force=True)
    assert done["changed"] is True
    assert primary.sql(RECORD, "repmgr") == ""
