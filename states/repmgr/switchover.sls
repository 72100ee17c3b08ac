# The primary is moved: salt-run state.orchestrate repmgr.switchover pillar='{"to": "node2"}'
#
# All of it is one state: once the old primary is down, nothing may have to wait for a master that
# renders another step. See docs/switchover.md.
switchover:
  repmgr_cluster.switched_over:
    - to: {{ pillar.get('to') | tojson }}
    - cluster: {{ pillar.get('cluster') | tojson }}
