"""One look at the node for all states of a run that find nothing to do.

An observation asks every member. A run of a dozen states that change nothing needs one of
them, not a dozen; what a state is about to act on is always observed anew.
"""

import dataclasses
import time

from saltext_repmgr.utils import existing
from saltext_repmgr.utils import host
from saltext_repmgr.utils import observe
from saltext_repmgr.utils import plan
from saltext_repmgr.utils import wanted
from saltext_repmgr.utils.errors import Refused

_KEY = "saltext_repmgr.observation"
_FRESH_SECONDS = 5


class Look:
    """What a state function knows: the wanted node, what is there, what is to be done.

    Nothing is asked before somebody wants to know.

    pillar, opts, context
        Salt's ``__pillar__``, ``__opts__`` and ``__context__``.
    """

    def __init__(self, pillar, opts, context):
        self.spec, self.node, self.layout = wanted.subject(pillar, opts["id"])
        self.test = bool(opts.get("test"))
        self.run = wanted.run_of(pillar, self.test)
        self._context = context
        self._seen = self._plan = None

    @property
    def seen(self):
        """The :class:`~saltext_repmgr.utils.facts.Observation` of this node."""
        if self._seen is None:
            self._seen = self._remembered() or self._observe()
        return self._seen

    @property
    def plan(self):
        """The :class:`~saltext_repmgr.utils.plan.Plan` that follows from it."""
        if self._plan is None:
            self._plan = plan.decide(self.spec, self.node, self.seen, self.run)
        return self._plan

    @property
    def next_start(self):
        """``{name: value}`` of what a server that is down would start with, as far as a default
        must not lower it."""
        seen = self.seen
        if seen.running or not (seen.installed and seen.configured):
            return {}
        return host.next_start(self.layout, existing.KEPT)

    def _remembered(self):
        at, seen = self._context.get(_KEY, (0, None))
        return seen if time.monotonic() - at < _FRESH_SECONDS else None

    def _observe(self):
        seen = observe.observe(self.spec, self.node, self.layout)
        self._context[_KEY] = (time.monotonic(), seen)
        return seen

    def again(self):
        """Observe and decide anew."""
        self._seen, self._plan = self._observe(), None
        return self

    def below(self, upstream):
        """Decide as if pillar said of which node this one is to stream."""
        self.node, self._plan = dataclasses.replace(self.node, upstream=upstream), None
        return self

    def allowed(self):
        """Return itself, or raise ``Refused`` where this node must not be touched."""
        if self.plan.refusal:
            raise Refused(self.plan.refusal)
        return self

    def todo(self, *steps):
        """Return the plan's first action that is one of ``steps``, or None.

        In a real run an action is only returned after it was found in an observation made
        for this call, so it may be acted on.
        """
        action = self.allowed().plan.action(*steps)
        if action is None or self.test:
            return action
        return self.again().allowed().plan.action(*steps)

    def connection(self, dbname="postgres"):
        """Return a context manager with a superuser's connection to the local server."""
        return observe.local_connection(self.spec, self.layout, dbname)
