# For the master's reactor: heal the cluster of the minion that sent an event, where pillar says
# 'rejoin: auto'. Nothing else of the event counts: what it says may be long over, and any minion may
# send any tag. Whether there is anything to do is decided by the runner, and not here.
heal:
  runner.repmgr.heal:
    - args:
      - minion: {{ data.get('id', '') | tojson }}
