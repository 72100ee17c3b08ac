"""What WAL says of a server: its timeline, its last record."""

import subprocess

# SQL. A standby has the history of each timeline that it followed; its own restart points are later.
TIMELINE = """
       CASE WHEN pg_is_in_recovery()
            THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver),
                          (SELECT greatest(timeline_id,
                                           (SELECT max(('x' || substr(name, 1, 8))::bit(32)::int)
                                              FROM pg_ls_waldir()
                                             WHERE name ~ '^[0-9A-F]{8}[.]history$'))
                             FROM pg_control_checkpoint()))
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int
       END
"""

# Bytes before the end of WAL in which the last record begins; that of a shutdown has 120.
_LAST_RECORDS = 200


def shut_down_cleanly(cursor, data_directory, timeline=None):
    """Whether the last record of WAL is that of a primary which stopped in good order.

    It sends that record before it goes. A primary that crashed cannot.

    timeline
        Of that primary, where it is known.
    """
    cursor.execute(
        "SELECT received_tli, pg_last_wal_replay_lsn() - '0/0', pg_last_wal_replay_lsn(),"
        " (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size')"
        " FROM pg_stat_wal_receiver RIGHT JOIN (SELECT 1) one ON true"
    )
    received, position, end, size = cursor.fetchone()
    timeline = timeline or received
    if timeline is None:
        cursor.execute("SELECT timeline_id FROM pg_control_checkpoint()")
        (timeline,) = cursor.fetchone()
    with open(f"{data_directory}/PG_VERSION", encoding="ascii") as handle:
        program = f"/usr/lib/postgresql/{handle.read().strip()}/bin/pg_waldump"
    # A primary with an archive begins a new segment for it, and before that there is nothing.
    begin = max(int(position) - _LAST_RECORDS, (int(position) - 1) // size * size)
    argv = [program, "-p", f"{data_directory}/pg_wal", "-t", str(timeline), "-e", end]
    argv += ["-s", f"{begin >> 32:X}/{begin & 0xFFFFFFFF:X}"]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", check=False
    )
    lines = done.stdout.splitlines()
    return bool(lines) and "CHECKPOINT_SHUTDOWN" in lines[-1]
