# This minion's part in its cluster, all of it: safe at any time, alone or by the orchestration.
{%- set router = salt['repmgr_router.wanted']() %}
{%- set node = router if router.problems or not router.node else salt['repmgr_node.wanted']() %}
{%- if node.problems %}
{%- include 'repmgr/refused.jinja' %}
{%- else %}
include:
{%- if router.node %}
{%- if not node.absent %}
  - repmgr.prepare
  - repmgr.server
  - repmgr.daemon
{%- endif %}
  - repmgr.leave
{%- endif %}
{%- if router.host %}
  - repmgr.pgbouncer
{%- endif %}
{%- endif %}
