from decimal import Decimal

import pytest

from stream.model.money import EXPONENTS, MoneyError, parse_minor, readable


@pytest.mark.parametrize("text", ["53500", "53500.00", "53500.0", Decimal(53500), 53500])
def test_rupiah_have_two_minor_digits(text: str | int | Decimal) -> None:
    assert parse_minor(text, "IDR") == 5_350_000


@pytest.mark.parametrize(
    ("amount", "currency", "minor"), [("1.5", "USD", 150), ("7", "JPY", 7), ("1.234", "BHD", 1234)]
)
def test_every_currency_has_its_own_digits(amount: str, currency: str, minor: int) -> None:
    assert parse_minor(amount, currency) == minor


@pytest.mark.parametrize(
    ("amount", "currency"),
    [(53500.0, "IDR"), ("53500.001", "IDR"), ("1.5", "JPY"), ("-1", "IDR"), ("NaN", "IDR"), ("x", "IDR"), ("1", "ZZZ"),
     ("Infinity", "IDR"), (True, "IDR")],
)  # fmt: skip
def test_what_is_no_amount_is_refused(amount: str | float, currency: str) -> None:
    with pytest.raises(MoneyError):
        parse_minor(amount, currency)  # type: ignore[arg-type]  # floats are what this is about


def test_one_table_of_exponents() -> None:
    assert EXPONENTS["IDR"] == 2
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)


def test_people_read_rupiah_with_dots() -> None:
    assert readable(5_350_000, "IDR") == "Rp 53.500"
    assert readable(123_456_789_000, "IDR") == "Rp 1.234.567.890"
    assert readable(123_450, "USD") == "USD 1,234.50"
    assert readable(7, "JPY") == "JPY 7"
