# Servers whose settings wait for a restart get it, one after the other:
# salt-run state.orchestrate repmgr.restart pillar='{"back": true}'. See docs/rolling.md.
restart:
  repmgr_cluster.restarted:
    - nodes: {{ pillar.get('nodes') | tojson }}
    - force: {{ pillar.get('force', False) | tojson }}
    - back: {{ pillar.get('back', False) | tojson }}
    - cluster: {{ pillar.get('cluster') | tojson }}
