"""repmgr_pg.control_data and system_identifier: the data directory, server or not."""

from saltext_repmgr.guard import processes
from saltext_repmgr.utils.facts import LIMITS


def test_the_default_is_the_cluster_of_the_pillar(repmgr_pg, primary):
    identifier = primary.sql("SELECT system_identifier FROM pg_control_system()")
    assert repmgr_pg.system_identifier() == identifier
    assert repmgr_pg.control_data()["system_identifier"] == identifier


def test_the_standby_has_the_identifier_of_its_primary(repmgr_pg, standby):
    path = str(standby.data)
    assert repmgr_pg.system_identifier(data_directory=path) == repmgr_pg.system_identifier()
    assert repmgr_pg.control_data(data_directory=path)["state"] == "in archive recovery"


def test_no_running_server_is_needed(repmgr_pg, spare):
    path = str(spare.data)
    identifier = spare.sql("SELECT system_identifier FROM pg_control_system()")
    running = repmgr_pg.control_data(data_directory=path)
    assert (running["system_identifier"], running["state"]) == (identifier, "in production")
    assert not processes.is_shut_down(path)
    spare.stop()
    # The guard reads that by itself.
    assert processes.is_shut_down(path)
    stopped = repmgr_pg.control_data(data_directory=path)
    assert (stopped["system_identifier"], stopped["state"]) == (identifier, "shut down")
    assert repmgr_pg.system_identifier(data_directory=path) == identifier


def test_it_says_what_the_server_says(repmgr_pg, spare):
    spare.sql("CREATE TABLE t (); DROP TABLE t; CHECKPOINT")
    found = repmgr_pg.control_data(data_directory=str(spare.data))
    said = spare.sql(
        "SELECT timeline_id, next_oid, checkpoint_lsn FROM pg_control_checkpoint()"
    ).split("|")
    assert [str(found[k]) for k in ("timeline", "next_oid", "checkpoint")] == said
    assert found["next_oid"] > 16384
    assert found["limits"] == {name: int(spare.sql(f"SHOW {name}")) for name in LIMITS}
    assert found["checksums"] is (spare.sql("SHOW data_checksums") == "on")
