# repmgrd as a unit of its own; the packaged init script stays out of the way by its name.
{%- set node = salt['repmgr_node.wanted']() %}
{%- if node.problems %}
{%- include 'repmgr/refused.jinja' %}
{%- elif node.drained %}

# Nothing of it is to run; says since when and why.
daemons of {{ node.node }}:
  repmgr.assessed
{%- elif not node.absent %}

/etc/systemd/system/multi-user.target.wants/repmgr-guard.service:
  file.symlink:
    - target: /etc/systemd/system/repmgr-guard.service
    - makedirs: True

# Before repmgrd: nobody shall fail over who is not guarded.
repmgr-guard:
  repmgr_daemon.guard_running:
    - require:
      - file: /etc/systemd/system/multi-user.target.wants/repmgr-guard.service

/etc/systemd/system/repmgrd.service:
  file.managed:
    - contents: {{ node.unit_text | tojson }}
    - mode: '0644'

# 'systemctl enable' would run the packaged init script's own enabling too, seconds of it.
/etc/systemd/system/multi-user.target.wants/repmgrd.service:
  file.symlink:
    - target: /etc/systemd/system/repmgrd.service
    - makedirs: True

# The minion takes repmgr's events to the master.
events of {{ node.node }}:
  repmgr_daemon.events_watched

repmgrd:
  repmgr_daemon.repmgrd_running:
    - require:
      - repmgr_daemon: repmgr-guard
      - file: /etc/systemd/system/repmgrd.service
      - file: /etc/systemd/system/multi-user.target.wants/repmgrd.service
{%- for path, text in node.purge_units.items() %}

{{ path }}:
  file.managed:
    - contents: {{ text | tojson }}
    - mode: '0644'
{%- endfor %}
{%- if node.purge_units %}

/etc/systemd/system/timers.target.wants/{{ node.purge_timer }}:
  file.symlink:
    - target: /etc/systemd/system/{{ node.purge_timer }}
    - makedirs: True

{{ node.purge_timer }}:
  repmgr_daemon.timer_running:
    - require:
      - file: /etc/systemd/system/timers.target.wants/{{ node.purge_timer }}
{%- endif %}
{%- endif %}
