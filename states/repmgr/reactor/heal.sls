# For the master's reactor: heal the cluster that an event is about, where pillar says
# 'rejoin: auto'. Whether there is anything to do is decided by the runner, and not here: what
# an event says may be long over.
heal:
  runner.repmgr.heal:
    - args:
{%- if tag.startswith('repmgr/') %}
      - cluster: {{ tag.split('/')[1] | tojson }}
{%- else %}
      - minion: {{ data['id'] | tojson }}
{%- endif %}
