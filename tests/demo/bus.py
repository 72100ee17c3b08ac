"""The event bus of a lab's master."""

import contextlib
import json
import queue
import subprocess
import tempfile
import threading
import time
from typing import IO
from typing import Any

from tests.lab import Host
from tests.lab import LabError

_READY_SECONDS = 60
_PYTHON = "/opt/salt/bin/python3"
# `salt-run state.event` shows the same, but not when it has begun to listen.
_LISTENER = """
import json
import salt.config, salt.utils.event
opts = salt.config.master_config("/etc/salt/master")
with salt.utils.event.get_master_event(opts, opts["sock_dir"], listen=True) as bus:
    print(json.dumps("listening"), flush=True)
    for event in bus.iter_events(full=True, auto_reconnect=True):
        print(json.dumps([event["tag"], event["data"]], default=str), flush=True)
"""

Event = tuple[str, dict[str, Any]]


class Bus:
    """Events from the moment the block begins; use it as a context manager."""

    def __init__(self, master: Host) -> None:
        self._master = master
        # A file: nobody would empty a pipe.
        self._said = tempfile.TemporaryFile()  # pylint: disable=consider-using-with
        self._process: subprocess.Popen[bytes] | None = None
        self._events: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __enter__(self) -> "Bus":
        self._process = self._master.popen(
            [_PYTHON, "-c", _LISTENER],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=[self._process.stdout], daemon=True).start()
        with contextlib.suppress(queue.Empty):
            if self._events.get(timeout=_READY_SECONDS) == "listening":
                return self
        self._said.seek(0)
        said = self._said.read().decode(errors="replace")[-1000:]
        self.__exit__()
        raise LabError(f"cannot listen to the events of the master: {said}")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _read(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            with contextlib.suppress(ValueError):
                self._events.put(json.loads(line))
        self._events.put(None)

    def next(self, timeout: float) -> Event | None:
        """The next event as tag and data; ``None`` when there is none for so many seconds."""
        try:
            event = self._events.get(timeout=timeout)
        except queue.Empty:
            return None
        if event is None:
            # The loss of the progress display is no reason to stop what it displays.
            self._events.put(None)
            time.sleep(timeout)
            return None
        tag, data = event
        # What a minion sends is wrapped in what the master knows about the sender.
        if data.get("cmd") == "_minion_event" and isinstance(data.get("data"), dict):
            data = {"id": data["id"], **data["data"]}
        return tag, data
