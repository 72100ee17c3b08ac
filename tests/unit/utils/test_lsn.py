"""Log sequence numbers."""

import pytest

from saltext_repmgr.utils import lsn
from saltext_repmgr.utils.errors import ParseError

POSITIONS = {
    "0/0": 0,
    "0/1": 1,
    "1/0": 2**32,
    "16/B374D848": 0x16B374D848,
    "FFFFFFFF/FFFFFFFF": 2**64 - 1,
}


@pytest.mark.parametrize("text", POSITIONS)
def test_there_and_back(text):
    assert lsn.parse(text) == POSITIONS[text]
    assert lsn.render(POSITIONS[text]) == text


def test_lower_case_and_leading_zeros_are_read():
    assert lsn.parse("00000001/0000ab00") == lsn.parse("1/AB00")


@pytest.mark.parametrize(
    ("one", "other", "bytes_"), [("0/10", "0/1", 15), ("1/0", "2/0", -(2**32))]
)
def test_diff(one, other, bytes_):
    assert lsn.diff(one, other) == bytes_
    assert lsn.diff(one, one) == 0


@pytest.mark.parametrize(
    "text", ["", "/", "0", "0/", "/0", "0/G", "0/0/0", "123456789/0", None, 5, "0-0"]
)
def test_anything_else_is_refused(text):
    with pytest.raises(ParseError, match="not an LSN"):
        lsn.parse(text)


@pytest.mark.parametrize("text", ["-1/0", "0/+1", "0x1/0", "0/1_0", " 1/0", "0/1 "])
def test_what_only_python_reads_is_refused(text):
    with pytest.raises(ParseError):
        lsn.parse(text)
