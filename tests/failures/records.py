"""What the client wrote down: one line of JSON for each write that a server acknowledged."""

import dataclasses
import json
from dataclasses import dataclass

#: Writes of the counting writer, which goes over the network, as an application does.
ROW = "row"
#: Writes of the watcher, which gets to each server whatever happens to its network.
WATCH = "watch"


@dataclass(frozen=True)
class Ack:
    """One acknowledged write. ``sent`` and ``acked`` are seconds of the machine's monotonic clock.

    ``server`` is when the server was started: a node that was restarted is another one.
    ``number`` is that of the row. ``synchronous`` says whether the server waited for a standby.
    """

    kind: str
    number: int
    node: str
    server: str
    timeline: int
    synchronous: bool
    sent: float
    acked: float

    def line(self) -> str:
        """The inverse of :func:`parse`."""
        return json.dumps(dataclasses.asdict(self)) + "\n"


def parse(data: bytes) -> tuple[list[Ack], int]:
    """The writes in what the client wrote down, and how many of the bytes they take.

    A last line without its end is left for later: the client is still writing it.
    """
    end = data.rfind(b"\n") + 1
    return [Ack(**json.loads(line)) for line in data[:end].splitlines()], end
