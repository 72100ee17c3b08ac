# The whole cluster: salt-run state.orchestrate repmgr.cluster
#
# Salt renders this file before its first step, so the check of the pillar and of the
# minions is done here, while it renders: it is the same in a dry run, it knows which
# minions are there, and nothing has been touched when it finds a mistake. Which node is
# the primary is looked at again by every node when its turn comes.
#
# Steps do not require each other: a node that fails must not keep the others from their
# work. What they need of each other they observe.
{%- set check = salt['repmgr_cluster.preflight'](pillar.get('cluster')) %}
{%- set run = {'repmgr_run': check.run} %}


preflight:
  repmgr.checked:
    - problems: {{ check.problems | tojson }}
    - comment: {{ (check.reason ~ '; order of work: ' ~ check.order) | tojson }}

{%- if not check.problems %}
{%- if check.passwords %}

# Pillar has another one than the cluster. Until this is done the one of before is used.
passwords:
  repmgr_cluster.password_rotated:
    - cluster: {{ check.cluster | tojson }}
{%- endif %}

prepare:
  salt.state:
    - tgt: {{ check.nodes | tojson }}
    - tgt_type: list
    - sls: repmgr.prepare
{%- if check.host_keys %}
    # Each said its own, over a channel that can be trusted.
    - pillar: {{ {'repmgr_host_keys': check.host_keys} | tojson }}
{%- endif %}
    # A scheduled highstate on the minion must not fail the step.
    - queue: True
    # Packages may have to be fetched. The minion is probed when this is over, and is
    # waited for as long as it says that it still works.
    - timeout: 30

{%- if check.asleep %}

# All is down, and a server starts as the primary only when it hears from others.
others first:
  salt.state:
    - tgt: {{ check.asleep | tojson }}
    - tgt_type: list
    - sls: repmgr.server
    - pillar: {{ run | tojson }}
    - queue: True
    - timeout: 30
{%- endif %}

{%- for wave in check.waves %}

{{ 'primary' if loop.first and wave == [check.primary] else 'standbys ' ~ loop.index0 }}:
  salt.state:
    - tgt: {{ wave | tojson }}
    - tgt_type: list
    - sls: repmgr.server
    - pillar: {{ run | tojson }}
    - queue: True
    # A clone takes as long as it takes; see above.
    - timeout: 30
{%- endfor %}

{%- if check.again %}

# Its commits wait for standbys from now on; before they were there nobody could have written.
primary again:
  salt.state:
    - tgt: {{ check.again | tojson }}
    - tgt_type: list
    - sls: repmgr.server
    - pillar: {{ run | tojson }}
    - queue: True
    - timeout: 30
{%- endif %}

{%- for step, nodes in (('leave', check.leaving), ('clear up', check.tidying)) if nodes %}

{{ step }}:
  salt.state:
    - tgt: {{ nodes | tojson }}
    - tgt_type: list
    - sls: repmgr.leave
    - pillar: {{ run | tojson }}
    - queue: True
    - timeout: 30
{%- endfor %}

{%- if check.witnesses %}

witness:
  salt.state:
    - tgt: {{ check.witnesses | tojson }}
    - tgt_type: list
    - sls: repmgr.server
    - pillar: {{ run | tojson }}
    - queue: True
    - timeout: 30
{%- endif %}

daemons:
  salt.state:
    - tgt: {{ check.nodes | tojson }}
    - tgt_type: list
    - sls: repmgr.daemon
    - queue: True
    - timeout: 30

{%- if check.routers %}

routers:
  salt.state:
    - tgt: {{ check.routers | tojson }}
    - tgt_type: list
    - sls: repmgr.pgbouncer
    - queue: True
    - timeout: 30
{%- endif %}

verify:
  repmgr_cluster.verified:
    - cluster: {{ check.cluster | tojson }}
{%- endif %}
