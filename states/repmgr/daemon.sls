# repmgrd as a unit of its own; the packaged init script stays out of the way by its name.
{%- set node = salt['repmgr_node.wanted']() %}
{%- if node.problems %}
{%- include 'repmgr/refused.jinja' %}
{%- elif not node.absent %}

/etc/systemd/system/repmgrd.service:
  file.managed:
    - contents: {{ node.unit_text | tojson }}
    - mode: '0644'

repmgrd:
  repmgr.repmgrd_running:
    - watch:
      - file: /etc/systemd/system/repmgrd.service
{%- endif %}
