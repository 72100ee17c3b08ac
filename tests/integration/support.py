"""What the integration tests ask of a cluster in a lab."""

import contextlib
import copy
import json

from tests.lab import LabError
from tests.lab.process import wait_until

PASSWORD = "correct-horse-battery-staple"
# The command lines of all processes, a few times a second.
WATCH_PROCESSES = """#!/bin/sh
end=$(($(date +%s) + 300))
while [ "$(date +%s)" -lt $end ]; do
    cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' >> /tmp/processes
    sleep 0.2
done
"""
VERSIONS = {"bullseye": 13, "bookworm": 15, "trixie": 17}


def files_with(host, words, places):
    """The files of a host in which one of the words stands.

    The words are in a file, as command lines are looked into too.

    places
        Directories, with a space in between; the home of root is none.
    """
    sought = "/root/sought"
    host.write(sought, "".join(f"{word}\n" for word in words))
    found = host.sh(f"grep -rlF -f {sought} {places} 2>/dev/null || true; rm {sought}")
    return sorted(found.split())


class Cluster:
    """A lab together with the pillar it is given; some of its hosts may be no nodes."""

    def __init__(self, lab, witness=False, pillar=None, others=()):
        self.lab = lab
        self.version = VERSIONS[lab.spec.release]
        self._others = others
        names = [host.name for host in self.nodes]
        nodes = {
            name: {"id": number + 1, "host": lab[name].address} for number, name in enumerate(names)
        }
        nodes[names[0]]["role"] = "primary"
        if witness:
            nodes[names[-1]]["role"] = "witness"
        self.pillar = {
            "cluster": "foobar",
            "subnet": "10.77.0.0/24",
            "password": PASSWORD,
            "nodes": nodes,
            **(pillar or {}),
        }
        self.publish()

    @property
    def nodes(self):
        """The hosts of the cluster."""
        return [host for host in self.lab.nodes if host.name not in self._others]

    @property
    def port(self):
        return self.pillar.get("postgres", {}).get("port", 5432)

    def publish(self, **changes):
        """Give the pillar, with changes at its top level, to everybody."""
        self.pillar.update(changes)
        self.lab.set_pillar(self.pillar)

    def changed(self, **changes):
        """Return a copy of the pillar with changes at its top level."""
        return {**copy.deepcopy(self.pillar), **changes}

    # -- runs ---------------------------------------------------------------------------

    def orchestrate(self, *words, timeout=420):
        """Run the orchestration and return its :class:`Run`."""
        done = self.lab.salt_run("state.orchestrate", "repmgr.cluster", *words, timeout=timeout)
        return Run(done)

    def apply(self, name, *words):
        """Run ``state.apply repmgr`` on one node and return ``{state id: result}``."""
        done = self.lab.salt_call(name, "state.apply", "repmgr", *words)
        assert isinstance(done.data, dict), (done.stdout, done.stderr)
        return {key.split("_|-")[1]: value for key, value in done.data.items()}

    # -- looks --------------------------------------------------------------------------

    def sql(self, name, query, dbname="postgres", timeout=60):
        """Run a query on a node over its socket and return psql's bare output."""
        argv = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", str(self.port), "-d", dbname]
        done = self.lab[name].run([*argv, "-c", query], user="postgres", timeout=timeout)
        return done.stdout.strip()

    def silence(self, name):
        """Stop a minion. Its last process outlives the unit for a moment, and answers until then."""
        host = self.lab[name]
        host.run(["systemctl", "stop", "salt-minion"])
        alive = ["pgrep", "-f", "bin/salt-minion"]
        assert wait_until(lambda: host.run(alive, check=False).returncode, 30, step=0.2)

    def wake(self, name):
        """Start a minion, and wait until it answers."""
        self.lab[name].run(["systemctl", "start", "salt-minion"])
        self.lab.wait_for_minions([name])

    def started(self, name):
        """When the server of a node was started."""
        return self.sql(name, "SELECT pg_postmaster_start_time()")

    def show(self, name):
        """What repmgr itself says of the cluster: ``{node id: (availability, recovery)}``,
        and its exit code."""
        argv = [f"/usr/lib/postgresql/{self.version}/bin/repmgr", "-f", "/etc/repmgr.conf"]
        done = self.lab[name].run([*argv, "cluster", "show", "--csv"], user="postgres", check=False)
        rows = [line.split(",") for line in done.stdout.splitlines()]
        return {int(i): (int(a), int(r)) for i, a, r in rows}, done.returncode

    def streaming(self, name):
        """The names of the standbys that stream from a node."""
        query = "SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'"
        return sorted(self.sql(name, query).split())

    def primary(self, among=None):
        """The one node of these (default: all) that is a primary; ``None`` while there is none,
        or more than one."""
        names = [host.name for host in self.nodes] if among is None else among
        found = [name for name in names if self._writable(name)]
        return found[0] if len(found) == 1 else None

    def whole(self):
        """Whether one node is the primary, all others stream from it, and repmgrd runs on all."""
        names = [host.name for host in self.nodes]
        running = "SELECT repmgr.repmgrd_is_running()"
        with contextlib.suppress(LabError):
            primary = self.primary()
            return (
                primary is not None
                and self.streaming(primary) == sorted(n for n in names if n != primary)
                and all(self.sql(name, running, "repmgr") == "t" for name in names)
            )
        return False

    def _writable(self, name):
        # It may be down, stopped or frozen.
        with contextlib.suppress(LabError):
            return self.sql(name, "SELECT pg_is_in_recovery()", timeout=5) == "f"
        return False

    def plan(self, name):
        """What a node would do."""
        return self.lab.salt_call(name, "repmgr_node.plan").data

    def fingerprint(self, name):
        """A hash over everything on a host that the extension could have changed."""
        return self.lab[name].sh(_FINGERPRINT)


# Content, owner and mode of configuration; packages; processes; the data directories by
# name and size (their content is another test's). A process that a server or a daemon has just made is
# called as its parent for a moment: only what systemd watches counts.
_FINGERPRINT = """
{ find /etc /var/lib/postgresql /usr/local /root -xdev \\( -name '*.pyc' -o -name mtab \\
       -o -path '/etc/salt/pki/*' -o -path '/root/.cache*' -o -path '*/pg_stat*' \\
       -o -path '*/pg_wal*' -o -path '*/global/pg_control' -o -path '*/pg_xact/*' \\
       -o -path '*/pg_logical/*' -o -path '*/pg_subtrans*' -o -path '*/pg_multixact*' \\
       -o -path '*/pg_replslot/*' -o -path '*/base/*' -o -path '*/global/*' \\) -prune \\
       -o -printf '%p %u %m %y ' -type f -exec md5sum {} \\; -o -printf '\\n'
  dpkg-query -W -f='${Package} ${Version} ${db:Status-Status}\\n'
  pgrep --parent 1 -a -u postgres -f 'postgres -D|repmgrd' || true
  ls /run/systemd/transient 2>/dev/null | grep repmgr || true
} | sort
"""


class Run:
    """The result of an orchestration."""

    def __init__(self, done):
        self.returncode = done.returncode
        self.stdout, self.stderr = done.stdout, done.stderr
        assert isinstance(done.data, dict), (done.returncode, done.stdout, done.stderr)
        (self._states,) = done.data["data"].values()
        assert isinstance(self._states, dict), self._states

    @property
    def ok(self):
        return self.returncode == 0

    def step(self, name):
        """Return the result of a step, by its id."""
        return next(s for s in self._states.values() if s["__id__"] == name)

    @property
    def steps(self):
        """The ids of all steps, in the order in which they ran."""
        return [s["__id__"] for s in sorted(self._states.values(), key=lambda s: s["__run_num__"])]

    @property
    def failed(self):
        return [s["__id__"] for s in self._states.values() if s["result"] is False]

    def nodes(self, step):
        """Return ``{minion: {state id: result}}`` of a step."""
        returned = self.step(step)["changes"].get("ret", {})
        return {
            minion: {key.split("_|-")[1]: value for key, value in states.items()}
            for minion, states in returned.items()
        }

    @property
    def changes(self):
        """``{(step, minion, state): changes}`` of everything that changed or would change."""
        found = {}
        for state in self._states.values():
            for minion, states in self.nodes(state["__id__"]).items():
                for name, result in states.items():
                    if result["changes"]:
                        found[state["__id__"], minion, name] = result["changes"]
        return found

    def announced(self):
        """``{(minion, state)}`` of what a run did, or a dry run says it would do."""
        return {(minion, state) for _, minion, state in self.changes}

    def __repr__(self):
        found = {s["__id__"]: s["comment"] for s in self._states.values()}
        for step in self.failed:
            for minion, said in self.step(step)["changes"].get("ret", {}).items():
                # What is no mapping is a minion's own complaint.
                states = said.values() if isinstance(said, dict) else [{"comment": said}]
                bad = [state["comment"] for state in states if not state.get("result")]
                if bad:
                    found[f"{step}: {minion}"] = bad
        return json.dumps(found, indent=1)
