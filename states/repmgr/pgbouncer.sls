# PgBouncer on this host, and the daemon that has it follow the primary.
{%- set router = salt['repmgr_router.wanted']() %}
{%- if router.problems %}
{%- set node = router %}
{%- include 'repmgr/refused.jinja' %}
{%- elif router.host %}

# Read by the first start already, that of the package.
{{ router.drop_in }}:
  file.managed:
    - contents: {{ router.drop_in_text | tojson }}
    - mode: '0644'
    - makedirs: True

# Unattended upgrades would end the connections of all clients.
{%- for path, text in router.unattended.items() %}

{{ path }}:
  file.managed:
    - contents: {{ text | tojson }}
    - mode: '0644'
    - makedirs: True
{%- endfor %}

packages of PgBouncer on {{ router.name }}:
  pkg.installed:
    - pkgs: {{ router.packages | tojson }}
    - require:
      - file: {{ router.drop_in }}

{{ router.directory }}:
  repmgr_router.installed:
    - require:
      - pkg: packages of PgBouncer on {{ router.name }}

{{ router.passfile }}:
  repmgr_router.passfile:
    - require:
      - pkg: packages of PgBouncer on {{ router.name }}

{{ router.userlist }}:
  repmgr_router.userlist:
    - require:
      - pkg: packages of PgBouncer on {{ router.name }}

{{ router.ini }}:
  repmgr_router.configured:
    - require:
      - repmgr_router: {{ router.directory }}
      - repmgr_router: {{ router.userlist }}

{{ router.service }}:
  repmgr_router.pgbouncer_running:
    - require:
      - repmgr_router: {{ router.ini }}

/etc/systemd/system/multi-user.target.wants/{{ router.unit }}.service:
  file.symlink:
    - target: /etc/systemd/system/{{ router.unit }}.service
    - makedirs: True
    - require:
      - repmgr_router: {{ router.directory }}

{{ router.unit }}:
  repmgr_router.running:
    - require:
      - repmgr_router: {{ router.service }}
      - repmgr_router: {{ router.passfile }}
{%- endif %}
