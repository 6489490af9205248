"""The mistakes in native code that are written by hand, without building any."""

import pytest

from tests.mutants.changed import ROOT
from tests.mutants.native import NATIVE, SLIPS, Slip, changed


@pytest.mark.parametrize("name", SLIPS)
def test_each_slip_is_one_place_of_the_code_as_it_is(name: str) -> None:
    slip = SLIPS[name]
    text = (ROOT / NATIVE / f"{slip.module}.pyx").read_text()
    assert changed(slip, text) != text


def test_what_is_not_there_or_there_twice_is_refused() -> None:
    for was in ("nowhere", "e"):
        with pytest.raises(ValueError, match="times"):
            changed(Slip("judging", was, ""), "here")
