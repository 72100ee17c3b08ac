#!/usr/bin/env bash
# Three hosts with PostgreSQL and repmgr installed become a cluster: what a DBA who is in a hurry
# would type, and nothing else. The measure for the orchestration, so it has to be as fast as a
# script that a person can still read gets.
#
#   ON_NODE1='ssh root@node1' ON_NODE2=… ON_NODE3=… SUBNET=10.0.0.0/24 by-hand.sh
set -euo pipefail

on() { local node=$1; shift; local enter="ON_${node^^}"; ${!enter} "$@"; }

# repmgr.conf, the password, and a server that others may connect to.
configure() {
    local id=$1 node=node$1
    on "$node" bash -es <<EOF
version=\$(ls /usr/lib/postgresql)
cat >/etc/repmgr.conf <<CONF
node_id = $id
node_name = '$node'
conninfo = 'host=$node user=repmgr dbname=repmgr connect_timeout=2'
data_directory = '/var/lib/postgresql/\$version/main'
pg_bindir = '/usr/lib/postgresql/\$version/bin'
use_replication_slots = true
CONF
cat >/etc/postgresql/\$version/main/conf.d/repmgr.conf <<CONF
listen_addresses = '*'
wal_log_hints = on
shared_preload_libraries = 'repmgr'
CONF
cat >>/etc/postgresql/\$version/main/pg_hba.conf <<CONF
host repmgr,replication repmgr $SUBNET scram-sha-256
CONF
echo '*:*:*:repmgr:bench' >~postgres/.pgpass
chmod 600 ~postgres/.pgpass
chown postgres: ~postgres/.pgpass
EOF
}

primary() {
    configure 1
    on node1 bash -es <<'EOF'
cd /
systemctl restart "postgresql@$(ls /usr/lib/postgresql)-main"
runuser -u postgres -- psql -qX -c "CREATE ROLE repmgr SUPERUSER LOGIN PASSWORD 'bench'" \
    -c "CREATE DATABASE repmgr OWNER repmgr"
runuser -u postgres -- repmgr primary register
EOF
}

# What the package made has to go before the clone can come.
clear_standby() {
    configure "$1"
    on "node$1" bash -es <<'EOF'
systemctl stop "postgresql@$(ls /usr/lib/postgresql)-main"
rm -rf /var/lib/postgresql/*/main
EOF
}

standby() {
    on "node$1" bash -es <<'EOF'
cd /
runuser -u postgres -- repmgr -h node1 -U repmgr -d repmgr standby clone --fast-checkpoint
systemctl start "postgresql@$(ls /usr/lib/postgresql)-main"
runuser -u postgres -- repmgr standby register
EOF
}

# `wait` returns what the job it waits for returned, so a failure anywhere ends the script.
all() { for job in "$@"; do wait "$job"; done; }

primary & jobs=($!)
clear_standby 2 & jobs+=($!)
clear_standby 3 & jobs+=($!)
all "${jobs[@]}"

standby 2 & jobs=($!)
standby 3 & jobs+=($!)
all "${jobs[@]}"
