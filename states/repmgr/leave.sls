# A node that is marked 'ensure: absent' leaves; a member clears up after those that left.
{%- set node = salt['repmgr_node.wanted']() %}
{%- if node.problems %}
{%- include 'repmgr/refused.jinja' %}
{%- elif node.absent %}

{{ node.node }} leaves:
  repmgr_member.left
{%- elif not node.witness %}

nodes that left {{ node.cluster }}:
  repmgr_member.departed_forgotten

slots of {{ node.node }}:
  repmgr_member.slots_tidied:
    - require:
      - repmgr_member: nodes that left {{ node.cluster }}
{%- endif %}
