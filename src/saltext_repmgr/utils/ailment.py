"""Something that is not as it should be."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ailment:
    """Something that is not as it should be.

    node
        Whose it is; empty where it is the whole cluster's.
    step
        What to do about it, where ``what`` does not say so.
    planned
        A run of the states does it.
    settles
        It may well go away by itself within seconds, so it is worth another look.
    note
        Somebody should know, but nothing is wrong with the cluster.
    rolling
        Rolling work ends it (docs/rolling.md), an orchestration does not.
    """

    node: str
    what: str
    step: str = ""
    planned: bool = False
    settles: bool = False
    note: bool = False
    rolling: bool = False

    @property
    def line(self):
        """All of it in one readable line."""
        line = f"{self.node}: {self.what}" if self.node else self.what
        return f"{line} ({self.step})" if self.step else line
