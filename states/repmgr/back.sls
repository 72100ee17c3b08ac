# A node comes back from maintenance: salt-run state.orchestrate repmgr.back pillar='{"node": "node2"}'
back:
  repmgr_cluster.brought_back:
    - node: {{ pillar.get('node') | tojson }}
    - cluster: {{ pillar.get('cluster') | tojson }}
