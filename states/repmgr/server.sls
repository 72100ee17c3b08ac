# The data and the server of this node, in the role that the live cluster gives it.
{%- set node = salt['repmgr_node.wanted']() %}
{%- if node.problems %}
{%- include 'repmgr/refused.jinja' %}
{%- else %}
{%- set plan = salt['repmgr_node.plan']() %}

# Fails, and says why and what to do, where this node must not be touched.
role of {{ node.node }}:
  repmgr.assessed

{%- if plan.role %}
{%- if plan.role == 'standby' %}

former primary on {{ node.node }}:
  repmgr.rejoined:
    - require:
      - repmgr: role of {{ node.node }}

data of {{ node.node }}:
  repmgr.standby_cloned:
    - require:
      - repmgr: former primary on {{ node.node }}
{%- endif %}

cluster of {{ node.node }}:
  repmgr_pg.cluster_present:
    - require:
      - repmgr: role of {{ node.node }}
{%- if plan.role == 'standby' %}
      - repmgr: data of {{ node.node }}
{%- endif %}

{{ node.settings_file }}:
  repmgr_pg.settings_present:
    - require:
      - repmgr_pg: cluster of {{ node.node }}

# From now on whatever starts the server passes the start check.
{{ node.pg_ctl_file }}:
  repmgr_pg.start_checked:
    - require:
      - repmgr_pg: cluster of {{ node.node }}

{{ node.hba_file }}:
  repmgr_pg.hba_present:
    - require:
      - repmgr_pg: cluster of {{ node.node }}

ALTER SYSTEM of {{ node.node }}:
  repmgr_pg.altered_reset:
    - require:
      - repmgr_pg: {{ node.settings_file }}

{{ node.service }}:
  repmgr_pg.running:
    - watch:
      - repmgr_pg: {{ node.settings_file }}
      - repmgr_pg: {{ node.hba_file }}
    - require:
      - repmgr_pg: {{ node.pg_ctl_file }}
      - repmgr_pg: ALTER SYSTEM of {{ node.node }}

{%- if plan.role != 'standby' %}

metadata of {{ node.node }}:
  repmgr.metadata_present:
    - require:
      - repmgr_pg: {{ node.service }}
{%- endif %}

{%- if plan.role == 'primary' and node.routed %}

PgBouncer's role on {{ node.node }}:
  repmgr_router.access_present:
    - require:
      - repmgr: metadata of {{ node.node }}
{%- endif %}

{%- if plan.role == 'standby' %}

upstream of {{ node.node }}:
  repmgr_member.upstream_followed:
    - require:
      - repmgr_pg: {{ node.service }}
{%- endif %}

registration of {{ node.node }}:
  repmgr.{{ plan.role }}_registered:
    - require:
      - repmgr_pg: {{ node.service }}
{%- if plan.role == 'standby' %}
      - repmgr_member: upstream of {{ node.node }}
{%- else %}
      - repmgr: metadata of {{ node.node }}
{%- endif %}
{%- endif %}
{%- endif %}
