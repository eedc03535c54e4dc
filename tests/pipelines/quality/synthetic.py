"""Texts with planted personal data and with what only looks like it: seeded, so that all figures come out again.

`python -m tests.pipelines.quality.synthetic` prints the table of docs/data-quality.md.
"""

import random
import time
from collections import Counter
from collections.abc import Callable

from pipelines.quality.personal import KINDS, NAMES, SURE, Finder, Masker

SEED, COUNT = 20260310, 1200
FIRST = [
    "Anna", "Peter", "Maria", "John", "Grace", "Ahmed", "Julia", "Carlos", "Emma", "David", "Laura", "Robert", "Nina",
    "Thomas", "Sofia", "Henry", "Olga", "Samuel", "Claire", "Victor",
]  # fmt: skip
LAST = [
    "Smith", "Miller", "Garcia", "Johnson", "Weber", "Rossi", "Dubois", "Khan", "Novak", "Jensen", "Brown", "Wilson",
    "Lopez", "Martin", "Fischer", "Clark", "Lewis", "Young", "King", "Hall",
]  # fmt: skip
PLACES = [
    "Boston", "Berlin", "Paris", "Chicago", "Madrid", "London", "Vienna", "Dublin", "Toronto", "Sydney", "Lisbon",
    "Oslo", "Denver", "Munich", "Seattle", "Rome",
]  # fmt: skip
DOMAINS = [
    "example.org", "mail.example.com", "shop-example.de", "example.co.uk", "example.fr",
]  # fmt: skip
AROUND = (
    "Please contact {} about this order.", "{} is what the customer gave us.", "Return label sent, see {} for details.",
    "Red steel lamp, 40 cm, {}, with cable", "The note on the box says {} in small print.", "lamp desk cable {} switch",
)  # fmt: skip


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("0123456789", k=count))


def email(rng: random.Random) -> str:
    sign = rng.choice([".", "_", "-", "", "+"])
    return (
        f"{rng.choice(FIRST).lower()}{sign}{rng.choice(LAST).lower()}{rng.choice(['', digits(rng, 2)])}@{rng.choice(DOMAINS)}"
    )


def phone(rng: random.Random) -> str:
    end, two, area, middle = digits(rng, 4), digits(rng, 2), rng.choice(["212", "415", "617", "312"]), rng.randint(220, 899)
    forms = (
        f"({area}) {middle}-{end}", f"+1 {area} {middle} {end}", f"{area}-{middle}-{end}", f"+44 20 7946 {end}",
        f"020 7946 {end}", f"+49 30 9018{end}", f"030 9018{end}", f"+33 1 42 68 53 {two}", f"01 42 68 53 {two}",
        f"+34 912 34 {two} {end[:2]}", f"+39 06 6982 {end}",
    )  # fmt: skip
    return rng.choice(forms)


def luhn(body: str) -> str:
    """The check digit of a card number."""
    doubled = [int(one) * (2 - place % 2) for place, one in enumerate(reversed(body))]
    return str(-sum(one - 9 if one > 9 else one for one in doubled) % 10)


def card(rng: random.Random) -> str:
    body = rng.choice(["4" + digits(rng, 14), f"5{rng.randint(1, 5)}" + digits(rng, 13), "37" + digits(rng, 12)])
    number, sign = body + luhn(body), rng.choice([" ", "-", ""])
    groups = [number[:4], number[4:10], number[10:]] if len(number) == 15 else [number[at : at + 4] for at in range(0, 16, 4)]
    return sign.join(groups)


def iban(rng: random.Random) -> str:
    country, body = rng.choice([("DE", digits(rng, 18)), ("GB", "NWBK" + digits(rng, 14)), ("FR", digits(rng, 23))])
    as_number = "".join(str(int(one, 36)) for one in body + country + "00")
    number = f"{country}{98 - int(as_number) % 97:02d}{body}"
    return number if rng.random() < 0.5 else " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def address(rng: random.Random) -> str:
    four = ".".join(str(rng.randint(1, 254)) for _ in range(4))
    return rng.choice([four, four, "2001:db8::" + f"{rng.randint(1, 65535):x}"])


def security_number(rng: random.Random) -> str:
    return f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def ean(rng: random.Random) -> str:
    body = rng.choice(["40", "50", "30", "76"]) + digits(rng, 10)
    return body + str(-sum(int(one) * (3 if place % 2 else 1) for place, one in enumerate(body)) % 10)


def decoy(rng: random.Random) -> str:
    wide, high, day, month, year = (rng.randint(*ends) for ends in ((600, 4000), (400, 3000), (1, 28), (1, 12), (2000, 2099)))
    small, three = rng.randint(10, 99), digits(rng, 3)
    forms = (
        ean(rng), ean(rng), f"{wide} x {high}", f"{wide}x{high}", f"version {day}.{month}.{small}", f"model A{wide}-{small}X",
        f"{day:02d}.{month:02d}.{year}", f"{year}-{month:02d}-{day:02d}", f"{month},{three}.00 EUR",
        f"{small} x {day} x {month} cm", f"no. {three}{three}", f"{wide}/{three} GB", f"@{month} GHz",
        f"pages {high}-{wide + high}",
    )  # fmt: skip
    return rng.choice(forms)


def person(rng: random.Random) -> str:
    return f"{rng.choice(FIRST)} {rng.choice(LAST)}"


def place(rng: random.Random) -> str:
    return rng.choice(PLACES)


PLANTED: dict[str, Callable[[random.Random], str]] = {
    "EMAIL_ADDRESS": email, "PHONE_NUMBER": phone, "CREDIT_CARD": card, "IBAN_CODE": iban, "IP_ADDRESS": address,
    "US_SSN": security_number, "PERSON": person, "LOCATION": place,
}  # fmt: skip


def texts() -> list[tuple[str, str, str]]:
    """Text, the kind that is planted in it, and what was planted; half of the texts have a decoy, and no kind."""
    rng = random.Random(SEED)
    made = []
    for number in range(COUNT):
        kind = KINDS[number // 2 % len(KINDS)] if number % 2 else ""
        planted = PLANTED[kind](rng) if kind else decoy(rng)
        made.append((rng.choice(AROUND).format(planted), kind, planted))
    return made


def scores() -> dict[str, tuple[float, float]]:
    """Precision and recall by kind: of what was found, and of what was planted."""
    given = texts()
    right, found, planted = Counter(), Counter(), Counter()
    for (text, kind, what), findings in zip(given, Finder(KINDS).find_each(text for text, _, _ in given), strict=True):
        planted[kind] += 1
        found.update(one.kind for one in findings)
        right[kind] += any(one.kind == kind and what in text[max(0, one.start - 1) : one.end + 1] for one in findings)
    return {kind: (right[kind] / max(1, found[kind]), right[kind] / planted[kind]) for kind in KINDS}


def rate(kinds: tuple[str, ...]) -> float:
    """Texts in a second of one core."""
    given, finder = [text for text, _, _ in texts()], Finder(kinds)
    finder.find("warm up: ann@example.org")
    started = time.process_time()
    list(finder.find_each(given))
    return len(given) / (time.process_time() - started)


if __name__ == "__main__":
    print("| kind | precision | recall |\n|---|---:|---:|")
    for kind, (precision, recall) in scores().items():
        print(f"| {kind} | {precision:.2f} | {recall:.2f} |")
    masker = Masker()
    started = time.process_time()
    for text, _, _ in texts():
        masker(text)
    masked_s = COUNT / (time.process_time() - started)
    print(f"forms {rate(SURE):,.0f}/s, with names {rate(SURE + NAMES):,.0f}/s, masked {masked_s:,.0f}/s")
