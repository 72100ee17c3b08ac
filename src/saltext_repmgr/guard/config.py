"""What the guard is told (by Salt) and what it remembers itself."""

import json
import os
import socket
import tempfile
from dataclasses import dataclass

CONFIG = "/etc/repmgr/guard.json"
STATE_DIRECTORY = "/var/lib/repmgr-guard"
MEMBERS = f"{STATE_DIRECTORY}/members.json"
STATE = f"{STATE_DIRECTORY}/state.json"
# The guard shall try to start the server again: it stopped it, or it could not be judged yet.
RETRY = f"{STATE_DIRECTORY}/start-again"
# A person's word for one start, in spite of all doubt.
ANYWAY = f"{STATE_DIRECTORY}/start-anyway"
# When the pause of repmgrd ends, in seconds since the epoch.
PAUSED_UNTIL = f"{STATE_DIRECTORY}/paused-until"
# The boot in which something was at work that paused it; what a person asked for outlasts a boot.
PAUSED_IN = f"{STATE_DIRECTORY}/paused-in"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
# In a session of a superuser no name is looked up in a schema of somebody else, whatever the database
# or the role is set to: what the client asks for counts more than those.
PINNED = "-c search_path="
# Whatever the recorded connection string of a member says: the role that writes those records shall
# not choose as whom, or where, this process of the postgres user logs in.
AS_MEMBER = {"user": "repmgr", "dbname": "repmgr", "options": PINNED}


@dataclass(frozen=True)
class Peer:
    """A member as it is recorded."""

    node_id: int
    name: str
    type: str
    upstream: int
    active: bool
    conninfo: str


@dataclass(frozen=True)
class Config:
    """The host and its node."""

    node_id: int
    name: str
    host: str
    port: int
    socket_directory: str
    data_directory: str
    service: str
    witness: bool
    fence: bool
    vote_seconds: int
    # Whether a lost primary is replaced without anybody's word, and the command that does it.
    automatic: bool = False
    promote: str = ""

    @property
    def own_conninfo(self):
        """How the server of this host is reached, without a password, over its socket."""
        return (
            f"host={self.socket_directory} port={self.port} user=postgres dbname=repmgr"
            f" options='{PINNED}'"
        )


def load(path=CONFIG):
    """Return the :class:`Config` that Salt wrote."""
    with open(path, encoding="utf-8") as handle:
        return Config(**json.load(handle))


def remembered(path=MEMBERS):
    """Return the :class:`Peer` tuple as the primary last knew it, or None."""
    try:
        with open(path, encoding="utf-8") as handle:
            return tuple(Peer(**peer) for peer in json.load(handle))
    except FileNotFoundError:
        return None


def write(path, content):
    """Write JSON so that a crash leaves the old file or the new one."""
    directory = os.path.dirname(path)
    handle, name = tempfile.mkstemp(dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:
        # A file system that is full is not to be filled with the halves of files.
        os.unlink(name)
        raise


def is_writable():
    """Return whether a file can be written beside those that it remembers."""
    try:
        with tempfile.TemporaryFile(dir=STATE_DIRECTORY) as file:
            file.write(b"0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def electors(peers, primary):
    """Return those of the peers whose word counts when ``primary`` is to be replaced."""
    return [p for p in peers if p.node_id != primary and p.active and p.upstream == primary]


def words(conninfo):
    """Return a connection string as a dictionary; psycopg2 has the parser of libpq."""
    from psycopg2.extensions import parse_dsn

    return parse_dsn(conninfo)


def address(conninfo):
    """Return the IP address in or behind the ``host`` of a connection string, or None."""
    host = words(conninfo).get("host")
    try:
        return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0] if host else None
    except OSError:
        return None
