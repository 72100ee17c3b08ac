"""SCRAM-SHA-256 verifiers; those a server made are in the functional tests."""

import pytest

from saltext_repmgr.utils import scram

# The exchange of RFC 7677, section 3: user "user", password "pencil".
RFC = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)


def test_the_example_of_the_rfc():
    assert scram.matches(RFC, "pencil")
    assert not scram.matches(RFC, "pencils")
    assert not scram.matches(RFC, "")


@pytest.mark.parametrize(
    "verifier",
    [
        None,
        "",
        "pencil",
        "md5" + "0" * 32,
        RFC.replace("SHA-256", "SHA-1"),
        RFC.replace("4096", "4095"),
        RFC.replace("4096", "many"),
        RFC.replace("W22Z", "W22Y"),
        RFC.replace("W22Z", "W2*Z"),
        RFC.replace("WG5d", "XG5d"),
        RFC.rpartition("$")[0],
        RFC + "$",
    ],
)
def test_everything_else_does_not_match(verifier):
    assert not scram.matches(verifier, "pencil")
