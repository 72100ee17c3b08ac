"""What programs that take minutes print, as they printed it."""

import signal

import pytest

from tests.lab import progress
from tests.lab.errors import CommandError
from tests.lab.errors import LabError
from tests.lab.prepare import at_the_same_time
from tests.lab.process import follow
from tests.lab.process import run


def told(reader, lines):
    """What somebody is told of these lines."""
    said = []
    read = reader(said.append)
    for line in lines:
        read(line)
    return said


def test_debootstrap():
    lines = [
        "I: Retrieving InRelease ",
        "I: Checking Release signature",
        "I: Valid Release signature (key id 41587F7DB8C774BCCF131416762F67A0B2C39DE4)",
        "I: Retrieving Packages ",
        "I: Validating Packages ",
        "I: Retrieving libselinux1 3.8.1-1",
        "I: Validating libselinux1 3.8.1-1",
        "I: Retrieving debconf 1.5.91",
        "I: Extracting libpcre2-8-0...",
        "I: Unpacking required packages...",
        "I: Unpacking debconf...",
        "I: Configuring required packages...",
        "I: Configuring debconf...",
        "I: Unpacking the base system...",
        "I: Unpacking libc6:amd64...",
        "I: Unpacking libc6:amd64...",
        "I: Base system installed successfully.",
    ]
    assert told(progress.debootstrap, lines) == [
        "retrieving package 1: libselinux1",
        "retrieving package 2: debconf",
        "extracting package 1 of 2: libpcre2-8-0",
        "unpacking package 1 of 2: debconf",
        "configuring package 1 of 2: debconf",
        "unpacking package 2 of 2: libc6:amd64",
        # More than were retrieved is no number to show.
        "unpacking package 3: libc6:amd64",
    ]


def test_pip():
    lines = [
        "Looking in links: /opt/wheels",
        "Collecting timelib",
        "  Using cached timelib-0.3.0-cp311-cp311-linux_x86_64.whl",
        "Processing /srv/files/six-1.17.0-py2.py3-none-any.whl",
        "Building wheels for collected packages: timelib",
        "  Building wheel for timelib (pyproject.toml): started",
        "Installing collected packages: timelib, six",
        "Successfully installed six-1.17.0 timelib-0.3.0",
    ]
    assert told(progress.pip, lines) == [
        "pip, package 1: collecting timelib",
        "pip, package 1: using cached timelib-0.3.0-cp311-cp311-linux_x86_64.whl",
        "pip, package 2: processing six-1.17.0-py2.py3-none-any.whl",
        "pip, package 2: building wheel for timelib",
        "pip: installing 2 packages",
    ]


def test_two_at_the_same_time_share_a_line():
    said = []
    together = progress.Together(said.append)
    image, salt = together.part("image"), together.part("Salt")
    salt("pip")
    image("lists")
    image("index")
    salt("")
    image("")
    assert said == [
        "Salt: pip",
        "Salt: pip; image: lists",
        "Salt: pip; image: index",
        "image: index",
        "",
    ]


def test_lines_come_while_the_command_runs(tmp_path):
    # It goes on only when somebody has taken notice of its first line.
    mark = tmp_path / "seen"
    said = []

    def tell(line):
        said.append(line)
        mark.touch()

    script = 'echo one; until [ -e "$1" ]; do sleep 0.01; done; echo two >&2'
    follow(["sh", "-c", script, "sh", mark], tell, timeout=60)
    assert said == ["one", "two"]


def test_what_failed_is_in_the_error():
    with pytest.raises(CommandError, match=r"building: .* exited 3:\nwhat went wrong") as raised:
        argv = ["sh", "-c", "echo what went wrong; exit 3"]
        follow(argv, progress.nothing, timeout=60, where="building")
    assert raised.value.returncode == 3


def test_when_one_maker_fails_the_programs_of_the_others_end():
    ended = []

    def fails():
        raise LabError("no image")

    def takes_long():
        try:
            run(["sleep", "600"], timeout=600)
        except CommandError as err:
            ended.append(err.returncode)
            raise

    with pytest.raises(LabError, match="no image"):
        at_the_same_time(takes_long, fails)
    assert ended == [-signal.SIGKILL]
