"""
Shows what ``salt-run repmgr.status`` returns on one screen. The runner asks for it; any
``--out`` of the command line outranks it.

CLI Example:

.. code-block:: bash

    salt-run repmgr.status --out=repmgr_status
"""

from saltext_repmgr.utils import facts
from saltext_repmgr.utils import status_text
from saltext_repmgr.utils.status import ClusterStatus


def output(data, **kwargs):
    """
    Return the status of a cluster as text.

    data
        What the runner ``repmgr.status`` returned (dict).

    Anything else raises an error that makes Salt show it nested.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.status
    """
    del kwargs
    return status_text.render(facts.from_dict(ClusterStatus, data))
