"""Languages are told where they can be, and nothing is said where they can't."""

import pytest

from pipelines.quality.language import language_of

SENTENCES = {
    "de": "Die Katze sitzt auf dem Dach und schaut in den Garten.",
    "en": "The cat sits on the roof and looks into the garden.",
    "fr": "Le chat est assis sur le toit et regarde le jardin.",
    "es": "El gato está sentado en el tejado y mira al jardín.",
    "ja": "猫は屋根の上に座って庭を見ています。庭には花が咲いています。",
    "ru": "Кошка сидит на крыше и смотрит в сад.",
    "ar": "تجلس القطة على السطح وتنظر إلى الحديقة.",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_sentences(language):
    assert language_of(SENTENCES[language]) == language


@pytest.mark.parametrize("text", ["", "red shoe", "4250 8GB 256GB DDR4 12345 67890", "\x00" * 30, "=1+1;=1+1;=1+1;=1+1;"])
def test_what_has_no_language(text):
    assert language_of(text) is None
