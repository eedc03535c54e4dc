"""What is masked in logged text, and what is not: the numbers of a catalogue are no phone numbers."""

import json
import random

import pytest

from pipelines import logs
from pipelines.masking import is_card, is_iban, masked
from pipelines.settings import settings
from tests.personal import planted

SEEDED = list(planted(random.Random(7), 240))


def test_the_plants_are_of_all_kinds():
    kinds = [kind for kind, _ in SEEDED]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "CREDIT_CARD": 60, "EMAIL_ADDRESS": 60, "IBAN_CODE": 60, "PHONE_NUMBER": 60,
    }  # fmt: skip


@pytest.mark.parametrize("around", ["{}", "please call {} now", "({})", "q={}&k=3", "order 12 for {}, thanks"])
def test_nothing_of_what_is_planted_is_left(around):
    left = [value for _, value in SEEDED if value in masked(around.format(value))]
    assert left == []


@pytest.mark.parametrize(
    "text",
    [
        "red leather sofa 220 x 90 x 75 cm",
        "EAN 4006381333931",
        "12.10.2026 to 2026-11-29T12:17:20.123456Z",
        "1,250,000,000 rows, 1 250 000 000, 0.123456789012",
        "release 058401399123a7bf8991, 20 digits 12345678901234567890",
        "10.0.0.12-10.0.0.199",
        "iphone 15 pro max 256gb",
        "@home, a@b",
        "DE88370400440532013000 has wrong check digits",
        "4111 1111 1111 1112 has a wrong check digit",
        "東京 ☂ ﷽",
    ],
)
def test_what_people_search_for_stays(text):
    assert masked(text) == text


def test_masking_again_changes_nothing():
    for _, value in SEEDED:
        assert masked(masked(value)) == masked(value)


def test_long_hostile_texts_take_no_time():
    import time

    for text in ("@" * 20_000, "a." * 10_000 + "@", "aa11" * 5_000, "1 " * 10_000, "+1(" * 8_000, "DE11 " * 4_000):
        started = time.perf_counter()
        masked(text)
        assert time.perf_counter() - started < 1, text[:10]


def test_check_digits():
    assert [is_card(number) for number in ("378282246310005", "378282246310006", "0000000000000000")] == [True, False, True]
    assert [is_iban(code) for code in ("GB82WEST12345698765432", "GB83WEST12345698765432")] == [True, False]


def test_no_log_line_has_them(capsys, monkeypatch):
    monkeypatch.setenv("RATCHET_LOG_FORMAT", "json")
    logs.configure(settings(), "a-step")
    for _, value in SEEDED:
        logs.log().info(f"event {value}", value=value, nested={"list": [value, {value: 1}]}, number=7)
        try:
            raise ValueError(f"about {value}")
        except ValueError as error:
            logs.log().error("failed", exc_info=error, error=error)
    written = capsys.readouterr().err
    assert len(written.splitlines()) == 2 * len(SEEDED)
    assert [value for _, value in SEEDED if value in written] == []
    assert all(json.loads(line)["step"] == "a-step" for line in written.splitlines())
