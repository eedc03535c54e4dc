"""Ids that are phone numbers, written in digits alone: told from other numbers by their column as a whole."""

from collections.abc import Callable, Iterator, Sequence

from pipelines.collections.record import Layout, Role, Sampled
from pipelines.collections.schema.column_names import words_of

SUBJECTS: dict[Role, tuple[tuple[str, Role], ...]] = {
    "documents": (("id", "documents"),),
    "queries": (("id", "queries"),),
    "users": (("id", "users"),),
    "qrels": (("query", "queries"), ("document", "documents")),
    "interactions": (("user", "users"), ("document", "documents")),
}
"""The ids of a row in the order of its places, each as the field of a column and whose ids these are."""
PHONE_WORDS = {"phone", "phones", "telephone", "tel", "telefon", "telefono", "telefone", "mobile", "msisdn", "whatsapp", "fax"}
LEAST_DIGITS, MOST_DIGITS = 9, 15
"""Of a phone number with its country's code (E.164); fewer digits are mostly article numbers."""
YEARS = ("19", "20")
RUNNING = 100_000
"""Where ids lie closer together than this, on average, they are counted; phone numbers of a country are spread wider."""
GTIN_DIGITS = (12, 13, 14)


def digit_ids(layout: Layout, samples: Sequence[Sampled], is_phone: Callable[[str], bool]) -> dict[Role, bool]:
    """Whose ids are mostly digits, as many as phone numbers have, and whether they are phone numbers in any column.

    Args:
        layout: which columns are ids.
        samples: the first rows of its files.
        is_phone: whether a text is a valid phone number; one with a country's code begins with a plus sign.
    """
    records = {sample.file.name: sample.records for sample in samples}
    found: dict[Role, bool] = {}
    for part in layout.parts:
        for field, subject in SUBJECTS[part.role]:
            for column in part.columns.get(field, ())[:1]:
                ids = {str(record.fields.get(column) or "").strip() for record in records.get(part.file.name, ())}
                numbers = [id_ for id_ in ids if id_.isdecimal() and LEAST_DIGITS <= len(id_) <= MOST_DIGITS]
                if 2 * len(numbers) > len(ids):
                    found[subject] = found.get(subject, False) or are_phone_numbers(column, numbers, is_phone)
    return found


def are_phone_numbers(column: str, numbers: Sequence[str], is_phone: Callable[[str], bool]) -> bool:
    """Whether most numbers of a column are dialled: by its name, or because most begin with a country's code.

    Numbers with a check digit of articles are none: every GTIN has it, and of phone numbers one in ten. Nor are those that
    begin with a year or lie close together, unless the column's name says so: a catalogue counts like that.

    >>> are_phone_numbers("tel", ["612345678", "687654321"], lambda text: False)
    True
    >>> are_phone_numbers("code", ["4006381333931", "5901234123457"], lambda text: True)
    False
    >>> are_phone_numbers("code", ["20240000001", "20230017345"], lambda text: True)
    False
    """
    half, values = len(numbers) / 2, sorted(map(int, numbers))
    if sum(map(is_article_number, numbers)) > half:
        return False
    if PHONE_WORDS & set(words_of(column)):
        return True
    if values[-1] - values[0] < RUNNING * len(values) or sum(number.startswith(YEARS) for number in numbers) > half:
        return False
    return sum(is_phone(f"+{number}") for number in numbers) > half


def is_article_number(digits: str) -> bool:
    """Whether the last of 12, 13 or 14 digits is the check digit of a UPC, EAN or GTIN.

    >>> is_article_number("4006381333931"), is_article_number("4006381333932"), is_article_number("036000291452")
    (True, False, True)
    """
    weighted = (int(digit) * (1 + 2 * (place % 2)) for place, digit in enumerate(reversed(digits)))
    return len(digits) in GTIN_DIGITS and sum(weighted) % 10 == 0


def digit_ids_notes(found: dict[Role, bool]) -> Iterator[str]:
    """What becomes of these ids, a sentence for each."""
    for subject, phones in sorted(found.items()):
        if phones:
            yield f"The ids of {subject} are taken for phone numbers: hashes stand for them."
        else:
            yield f"The ids of {subject} are taken for no phone numbers, and stay; call their column `phone` if they are."
