# This node's part in its cluster, all of it: safe at any time, alone or by the orchestration.
{%- set node = salt['repmgr_node.wanted']() %}
{%- if node.problems %}
{%- include 'repmgr/refused.jinja' %}
{%- else %}
include:
{%- if not node.absent %}
  - repmgr.prepare
  - repmgr.server
  - repmgr.daemon
{%- endif %}
  - repmgr.leave
{%- endif %}
