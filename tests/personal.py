"""Personal data that nobody has, made at random: e-mail addresses, phone and card numbers with check digits, and IBANs."""

import random
import string
from collections.abc import Iterator

PHONES = (
    "+49 171 {7}", "+44 20 {4} {4}", "+1 ({3}) {3}-{4}", "0171 {7}", "030/{7}", "0049 89 {6}", "(0{3}) {7}", "{3}-{3}-{4}",
    "+33.1.{2}.{2}.{2}.{2}", "+4917{9}", "0{2}-{8}", "00431{8}", "+1{3}{7}", "+49171{7}", "+1.{3}{7}",
    "+49.{2}{9}", "0049.{9}",
)  # fmt: skip
CARDS = (("4", 16), ("51", 16), ("34", 15), ("6011", 16), ("3056", 14))
COUNTRIES = {"DE": 18, "GB": 18, "FR": 23, "NL": 14, "CH": 17}
"""Characters of an IBAN behind its check digits."""


def planted(seeded: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """Kind and text, the kinds in turn, in the ways in which people write them."""
    kinds = {"EMAIL_ADDRESS": _email, "PHONE_NUMBER": _phone, "CREDIT_CARD": _card, "IBAN_CODE": _iban}
    for number in range(count):
        kind = list(kinds)[number % len(kinds)]
        yield kind, kinds[kind](seeded)


def _email(seeded: random.Random) -> str:
    name = "".join(seeded.choices(string.ascii_lowercase, k=7))
    joined = seeded.choice((f"{name}.{seeded.randrange(99)}", f"{name}+shop", f"{name}_x", name.upper()))
    return f"{joined}@{seeded.choice(('mail', 'müller', 'post'))}.{seeded.choice(('example.org', 'test', 'co.uk'))}"


def _phone(seeded: random.Random) -> str:
    text = seeded.choice(PHONES)
    for count in range(2, 10):
        while f"{{{count}}}" in text:
            text = text.replace(f"{{{count}}}", _digits(seeded, count), 1)
    return text


def _digits(seeded: random.Random, count: int) -> str:
    return str(seeded.randrange(1, 9)) + "".join(seeded.choices(string.digits, k=count - 1))


def _card(seeded: random.Random) -> str:
    start, length = seeded.choice(CARDS)
    digits = start + "".join(seeded.choices(string.digits, k=length - len(start) - 1))
    doubled = [int(digit) * (2 - place % 2) for place, digit in enumerate(reversed(digits))]
    digits += str(-sum(number - 9 * (number > 9) for number in doubled) % 10)
    groups = [digits[place : place + 4] for place in range(0, length, 4)]
    return seeded.choice(("", " ", "-")).join(groups)


def _iban(seeded: random.Random) -> str:
    country, length = seeded.choice(list(COUNTRIES.items()))
    bank = "".join(seeded.choices(string.ascii_uppercase, k=4)) if country in ("GB", "NL") else ""
    account = bank + "".join(seeded.choices(string.digits, k=length - len(bank)))
    remainder = int("".join(str(int(char, 36)) for char in f"{account}{country}00")) % 97
    code = f"{country}{98 - remainder:02}{account}"
    spaced = " ".join(code[place : place + 4] for place in range(0, len(code), 4))
    return seeded.choice((code, spaced, code.lower()))
