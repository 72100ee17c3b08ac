# A node goes out of service for maintenance, and stays out:
# salt-run state.orchestrate repmgr.drain pillar='{"node": "node2", "reason": "new disk"}'
# Keys: node, reason, to, force, keep_slot, cluster. See docs/maintenance.md.
drain:
  repmgr_cluster.drained:
    - node: {{ pillar.get('node') | tojson }}
    - reason: {{ pillar.get('reason', '') | tojson }}
    - to: {{ pillar.get('to') | tojson }}
    - force: {{ pillar.get('force', False) | tojson }}
    - keep_slot: {{ pillar.get('keep_slot') | tojson }}
    - cluster: {{ pillar.get('cluster') | tojson }}
