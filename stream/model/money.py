"""Money is an integer of minor units and a currency. No float touches it.

One table of ISO 4217 exponents. IDR has 2 minor digits there (Rp 53.500 is 5350000); gateways that say 0 are wrong by
100, so nothing else in the code may know a currency's digits.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

_BY_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE"
        " CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD"
        " HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP"
        " MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR"
        " SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED"
        " VES WST XCD XCG YER ZAR ZMW ZWG "
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS: Final[dict[str, int]] = {code: digits for digits, codes in _BY_DIGITS.items() for code in codes.split()}
"""Minor digits of every circulating ISO 4217 currency."""

MAX_SUM: Final = 2**63 - 1
"""Sums saturate here, so that they fit every consumer's 64 bits. Saturation commutes: all terms are >= 0, and so it may be
done anywhere on the way. Sums in Python grow on, and are cut where they are packed, written or compared; those in C are cut
at once. Nothing may be taken away from a sum that was cut: see core/ontime.py."""


def capped(number: int) -> int:
    """A sum as anybody sees it."""
    return number if number <= MAX_SUM else MAX_SUM  # noqa: FURB136  # half the time of min()


class MoneyError(ValueError):
    """An amount that cannot be an amount of that currency."""


def parse_minor(amount: str | int | Decimal, currency: str) -> int:
    """Minor units of a decimal amount: both "53500" and "53500.00" IDR are 5350000.

    Raises MoneyError for an unknown currency, a float, text that is no number, a negative amount, or more digits than
    the currency has.
    """
    if currency not in EXPONENTS:
        raise MoneyError(f"unknown currency {currency!r}")
    if isinstance(amount, float | bool):
        raise MoneyError(f"{type(amount).__name__} is not an amount of money")
    try:
        minor = Decimal(amount).scaleb(EXPONENTS[currency])
    except InvalidOperation:
        raise MoneyError(f"{amount!r} is not an amount") from None
    if not minor.is_finite() or minor < 0 or minor != minor.to_integral_value():
        raise MoneyError(f"{amount!r} is not an amount in {currency}")
    return int(minor)


def readable(minor: int, currency: str) -> str:
    """For people: ``Rp 53.500``, other currencies ``USD 1,234.50``. Whole rupiah only, rounded half-even."""
    if currency == "IDR":
        rupiah = round(Decimal(minor) / 100)
        return "Rp " + f"{rupiah:,}".replace(",", ".")
    digits = EXPONENTS.get(currency, 2)
    return f"{currency} {Decimal(minor).scaleb(-digits):,.{digits}f}"
