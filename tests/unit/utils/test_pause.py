"""Whose turn it is to change a pause; what it does on a host is in tests/integration."""

from types import SimpleNamespace

import pytest

from saltext_repmgr.guard import lease
from saltext_repmgr.utils import pause
from saltext_repmgr.utils.errors import CommandFailed


def test_who_does_not_get_its_turn_touches_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(pause, "_TURN_SECONDS", 0.1)
    until = tmp_path / "paused-until"
    until.write_text("1060")
    with lease.held(0, tmp_path):
        with pytest.raises(CommandFailed, match="another process changes the pause.*try again"):
            pause.end(None, SimpleNamespace(guard_state=str(tmp_path)))
    assert until.read_text() == "1060"
