"""
Shows what the runners that change a cluster return on one screen: ``repmgr.switchover``, ``drain``,
``back``, ``restart``, ``upgrade`` and ``rotate_password``. They ask for it; any ``--out`` of the
command line outranks it.

CLI Example:

.. code-block:: bash

    salt-run repmgr.switchover node2 test=True
"""

from saltext_repmgr.utils import work_text


def output(data, **kwargs):
    """
    Return what became of a planned change as text.

    data
        What the runner returned (dict).

    Anything else raises an error that makes Salt show it nested.

    CLI Example:

    .. code-block:: bash

        salt-run repmgr.restart test=True
    """
    del kwargs
    return work_text.render(data)
