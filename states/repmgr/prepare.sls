# What a node needs whatever its role is: packages, repmgr.conf, the password file, rights.
{%- set node = salt['repmgr_node.wanted']() %}
{%- if node.problems %}
{%- include 'repmgr/refused.jinja' %}
{%- else %}

{%- for address, names in node.hosts.items() %}
{{ address }} in /etc/hosts:
  host.present:
    - ip: {{ address }}
    - names: {{ names | tojson }}
{%- endfor %}
{%- for address, names in node.former_hosts.items() %}
{%- for name in names %}
{{ name }} no more in /etc/hosts:
  host.absent:
    - ip: {{ address }}
    - name: {{ name }}
{%- endfor %}
{%- endfor %}

# The package would make and start a cluster of its own choice on the port we need.
/etc/postgresql-common/createcluster.d/repmgr.conf:
  file.managed:
    - contents: |
        # Written by Salt (saltext-repmgr), which makes the cluster itself.
        create_main_cluster = false
    - makedirs: True

{%- if salt['file.find']('/var/lib/dpkg/updates', type='f') %}

# A host that went down while packages were unpacked takes no others before this.
what was unpacked when {{ node.node }} went down:
  cmd.run:
    - name: dpkg --force-confdef --force-confold --configure -a
    - env:
        - DEBIAN_FRONTEND: noninteractive
{%- endif %}

packages of {{ node.node }}:
  pkg.installed:
    - pkgs: {{ node.packages | tojson }}
    - require:
      - file: /etc/postgresql-common/createcluster.d/repmgr.conf

# Before its configuration, and the way into the servers, are others.
other repmgrd of {{ node.node }}:
  repmgr_daemon.other_repmgrd_stopped

# Where repmgr leaves its events.
{{ node.spool }}:
  file.directory:
    - user: {{ node.os_user }}
    - group: {{ node.os_user }}
    - mode: '0700'
    - require:
      - pkg: packages of {{ node.node }}

# What repmgr.conf names: the vote, and what takes events.
{{ node.guard_directory }}:
  repmgr_daemon.guard_installed:
    - require:
      - pkg: packages of {{ node.node }}

{{ node.repmgr_conf }}:
  file.managed:
    - contents: {{ node.repmgr_conf_text | tojson }}
    - mode: '0644'
    - require:
      - repmgr_daemon: other repmgrd of {{ node.node }}
      - pkg: packages of {{ node.node }}
      - file: {{ node.spool }}
      - repmgr_daemon: {{ node.guard_directory }}

{{ node.passfile }}:
  repmgr.passfile:
    - require:
      - pkg: packages of {{ node.node }}

# repmgr stops and starts the server on its own during a failover or a rejoin.
/etc/sudoers.d/repmgr:
  file.managed:
    - contents: {{ node.sudoers_text | tojson }}
    - mode: '0440'
    - check_cmd: /usr/sbin/visudo -cf
    - require:
      - pkg: packages of {{ node.node }}
{%- if node.ssh %}

{{ node.ssh.private_key }}:
  repmgr.ssh_key:
    - require:
      - pkg: packages of {{ node.node }}

ssh key of {{ node.node }}:
  ssh_auth.present:
    - user: {{ node.os_user }}
    - name: {{ node.ssh.public_key | tojson }}
    - require:
      - repmgr: {{ node.ssh.private_key }}
{%- for host, (type, key) in pillar.get('repmgr_host_keys', {}).items() %}

{{ host }} known to {{ node.os_user }}:
  ssh_known_hosts.present:
    - name: {{ host }}
    - user: {{ node.os_user }}
    - enc: {{ type }}
    - key: {{ key }}
    - hash_known_hosts: False
    - require:
      - repmgr: {{ node.ssh.private_key }}
{%- endfor %}
{%- for host in node.former_ssh_hosts %}

{{ host }} no more known to {{ node.os_user }}:
  ssh_known_hosts.absent:
    - name: {{ host }}
    - user: {{ node.os_user }}
    - require:
      - repmgr: {{ node.ssh.private_key }}
{%- endfor %}
{%- endif %}
{%- endif %}
