# New passwords of pillar are put in force: salt-run state.orchestrate repmgr.rotate_password
#
# The orchestration repmgr.cluster does this too, as its first step. See docs/passwords.md.
passwords:
  repmgr_cluster.password_rotated:
    - cluster: {{ pillar.get('cluster') | tojson }}
