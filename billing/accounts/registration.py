"""Korea's business registration numbers: ten digits, the last of which checks the others. Pure.

Source: National Tax Service, 사업자등록번호 검증 (weights 1 3 7 1 3 7 1 3 5; the tens of the ninth product are added), as of 2026-11.
Errors: `WrongRegistrationNumber`.
"""

from __future__ import annotations

KOREA = "KR"
_WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)
_LENGTH = 10


class WrongRegistrationNumber(ValueError):
    """A number that no business in Korea can have."""

    def __init__(self, number: str) -> None:
        super().__init__(
            f"{number!r} is no Korean business registration number: ten digits, of which the last is a check digit"
        )
        self.number = number


def check_number(country: str | None, number: str | None) -> None:
    """Raises `WrongRegistrationNumber` for a Korean business's number that none can have; other countries' rules are not known here."""
    if number is not None and (country or "").upper() == KOREA:
        digits_of(number)


def digits_of(number: str) -> str:
    """The ten digits of a number, without its dashes. Raises `WrongRegistrationNumber`."""
    digits = "".join(letter for letter in number if letter not in "- ")
    if not (
        digits.isascii() and digits.isdigit() and len(digits) == _LENGTH and check_digit(digits) == int(digits[-1])
    ):
        raise WrongRegistrationNumber(number)
    return digits


def check_digit(digits: str) -> int:
    """What the tenth digit must be, given the first nine."""
    products = [int(digit) * weight for digit, weight in zip(digits, _WEIGHTS, strict=False)]
    return -(sum(products) + products[-1] // 10) % 10
