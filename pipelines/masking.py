"""Personal data in logged text: e-mail addresses, phone and card numbers and IBANs become `<KIND>`, by patterns and checks.

Fast and without a library, for what is logged at every request; steps that judge collections use `quality.personal`, which
also finds names. Both look for the same kinds by the patterns below.
"""

import re
from collections.abc import Mapping
from typing import Any

PREFILTERS = {
    "EMAIL_ADDRESS": re.compile("@"),
    "PHONE_NUMBER": re.compile(r"(?:\d[^\dA-Za-z]{0,3}){8}\d"),
    "CREDIT_CARD": re.compile(r"(?:\d[- ]?){14}"),
    "IBAN_CODE": re.compile(r"[A-Z]{2}\d\d[- ]?[A-Z\d]{4}"),
    "IP_ADDRESS": re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|:[\dA-Fa-f]{0,4}:"),
    "US_SSN": re.compile(r"(?:\d[-. ]?){9}"),
}
"""By kind: a cheap pattern that a text must match before it is analyzed for the kind. Most texts match none."""
LEAST_DIGITS = {"PHONE_NUMBER": 9, "CREDIT_CARD": 14}
"""Digits below which a match is discarded: in product texts most of these are sizes and article numbers. An EAN has 13 digits,
and a tenth of all EANs have the check digit of a card."""
SIZE_OR_DATE = re.compile(r"\d\s?[x×*]\s?\d|^[0-3]?\d([./-])[01]?\d\1(19|20)\d\d$")
"""Sizes and dates, which have as many digits as a phone number."""
MOST_PHONE_DIGITS, MOST_CARD_DIGITS = 16, 19
LEAST = re.compile(r"@|%40|\d(?:[^\dA-Za-z]{0,3}\d){7}|[A-Za-z]{2}\d\d")
"""What a text must match to be looked at; most match nothing."""
EMAIL = re.compile(r"[\w.!#$%'*+^~-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+")
IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d\d(?:[ -]?[A-Za-z0-9]){11,30}", re.ASCII)
_COUNTRY = "".join(rf"(?<!{sign}[1-9]{rest})" for sign in (r"\+", r"\b00") for rest in ("", r"\d", r"\d\d"))
_DECIMALS = rf"(?:{_COUNTRY}\.\d{{9}}|\.\d{{15}})"
"""Of a number; after a country's code up to 14 digits are the rest of a phone number, as in `+1.5551234567` (RFC 5733)."""
DIGITS = re.compile(rf"(?<![\w-])(?<!\d\.)\(?\+?\d(?:(?!{_DECIMALS})[ ./()+\u2010-\u2015\u00a0-]{{0,3}}\d){{8,60}}(?!\w)")
"""Digits with what people write between them; not within a word or a number with nine decimals or more."""
GROUP = re.compile(r"\+?\d+")
DIALLED = re.compile(r"\+[1-9]|0{1,2}[1-9]")
NORTH_AMERICAN = re.compile(r"(?<!\d)(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}(?!\d)")
THOUSANDS = re.compile(r"0\.\d+|[1-9]\d{0,2}(?:[ .]\d{3})+")
"""Numbers that are written with a point or with gaps."""
_DAY_OR_FRACTION = r"(?:(?:19|20)\d\d-[01]\d-[0-3]\d|[0-3]?\d[./][01]?\d[./](?:19|20)\d\d|0\.\d+)"
DATES_OR_FRACTIONS = re.compile(rf"{_DAY_OR_FRACTION}(?:[ \u2010-\u2015-]{{1,3}}{_DAY_OR_FRACTION})+")
"""From one day to another, and numbers below 1 in a row."""
_COUNTRIES = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
    26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA",
    30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
IBAN_LENGTHS = {country: length for length, countries in _COUNTRIES.items() for country in countries.split()}
"""Characters of an IBAN by its country (ISO 13616). If any length would do, a fifth of all texts such as `SM58 …` had one."""


def masked(text: str) -> str:
    """The text with `<KIND>` in place of personal data.

    >>> masked("write to ann@example.org, call +44 20 7946 0958, card 4111 1111 1111 1111, to DE89 3704 0044 0532 0130 00")
    'write to <EMAIL_ADDRESS>, call <PHONE_NUMBER>, card <CREDIT_CARD>, to <IBAN_CODE>'
    >>> masked("article 4006381333931, 24 x 36 mm, 12.10.2026, 1.250.000.000 rows")
    'article 4006381333931, 24 x 36 mm, 12.10.2026, 1.250.000.000 rows'
    """
    if not LEAST.search(text):
        return text
    text = EMAIL.sub("<EMAIL_ADDRESS>", text)
    return DIGITS.sub(_number, _without_ibans(text))


def masked_event(_logger: Any, _method: str, event: Any) -> Any:
    """A processor of structlog: mask all texts of an event."""
    return {key: _masked_value(value) for key, value in event.items()}


def _masked_value(value: Any) -> Any:
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {_masked_value(key): _masked_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked_value(item) for item in value]
    if value is None or isinstance(value, int | float):
        return value
    return masked(str(value))


def is_card(digits: str) -> bool:
    """Whether the last digit is the check digit of a card by Luhn's rule (ISO/IEC 7812-1).

    >>> is_card("4111111111111111"), is_card("4111111111111112")
    (True, False)
    """
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether the check digits of an IBAN without blanks are right: 1 modulo 97 (ISO 13616).

    >>> is_iban("DE89370400440532013000"), is_iban("DE88370400440532013000")
    (True, False)
    """
    moved = text[4:] + text[:4]
    return len(text) == IBAN_LENGTHS.get(text[:2]) and int("".join(str(int(char, 36)) for char in moved)) % 97 == 1


def _without_ibans(text: str) -> str:
    """Words may follow an IBAN, and another code may stand before it, as in `RE20 DE89 3704 …`."""
    place = 0
    while match := IBAN.search(text, place):
        start, code = match.start(), match[0]
        ends = [end for end, char in enumerate(code, 1) if char.isalnum()]
        end = ends[min(IBAN_LENGTHS.get(code[:2].upper(), 0), len(ends)) - 1]
        if is_iban(re.sub("[ -]", "", code[:end]).upper()):
            text = f"{text[:start]}<IBAN_CODE>{text[start + end :]}"
        place = start + 1
    return text


def _number(match: re.Match[str]) -> str:
    """Whoever writes several numbers in a row may begin with another: each group of digits is tried as the first."""
    text = match[0]
    groups = [_ascii(group) for group in GROUP.findall(text)]
    if any(_is_card(groups, first) for first in range(len(groups))):
        return "<CREDIT_CARD>"
    number_or_date = THOUSANDS.fullmatch(text) or DATES_OR_FRACTIONS.fullmatch(text) or SIZE_OR_DATE.search(text)
    phone = NORTH_AMERICAN.search(text) or any(_is_phone(groups[first:]) for first in range(len(groups)))
    return "<PHONE_NUMBER>" if phone and not number_or_date else text


def _ascii(group: str) -> str:
    return "".join(str(int(char)) if char.isdigit() else char for char in group)


def _is_card(groups: list[str], first: int) -> bool:
    """Whether some groups from `first` on are a card's number."""
    digits = ""
    for group in groups[first:]:
        digits += group.lstrip("+")
        if len(digits) > MOST_CARD_DIGITS:
            return False
        if len(digits) >= LEAST_DIGITS["CREDIT_CARD"] and is_card(digits):
            return True
    return False


def _is_phone(groups: list[str]) -> bool:
    """Whether a number is dialled: it begins with a country's code, or with a zero before the area."""
    if len("".join(groups).lstrip("+")) < LEAST_DIGITS["PHONE_NUMBER"]:
        return False
    if len(groups) == 1 and len(groups[0]) > MOST_PHONE_DIGITS:
        return False
    article = len(groups) == 1 and len(groups[0]) in (12, 13) and groups[0][0] != "+" and groups[0][:2] != "00"
    return bool(DIALLED.match(groups[0])) and not (article and _is_article(groups[0]))


def _is_article(digits: str) -> bool:
    """Whether the last digit is the check digit of an article number (GTIN)."""
    return sum(int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(reversed(digits))) % 10 == 0
