# PostgreSQL's minor version and repmgr, one node after the other:
# salt-run state.orchestrate repmgr.upgrade. See docs/rolling.md.
upgrade:
  repmgr_cluster.upgraded:
    - back: {{ pillar.get('back', False) | tojson }}
    - cluster: {{ pillar.get('cluster') | tojson }}
