"""The estimate is never below what real tokenizers count, nor absurdly above it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from context.tokens import at_most, estimate

# A text, and its tokens as counted by o200k, cl100k and Gemini's own tokenizer.
SAMPLES: dict[str, tuple[str, tuple[int, int, int]]] = {
    "english": (
        "The library closes at nine tonight, so we should return the book"
        "s before dinner. Nobody minds if we are late once, but the fine "
        "doubles every week. The library closes at nine tonight, so we sh"
        "ould return the books before dinner. Nobody minds if we are late"
        " once, but the fine doubles every week. ",
        (63, 63, 63),
    ),
    "chat": (
        "hey, can you help me pls? my cat won't eat anything today and i don't know why :(",
        (20, 22, 24),
    ),
    "python": (
        'def total(rows: list[dict[str, int]], *, key: str = "amount") ->'
        ' int:\n    """Add up one column; rows without it count as zero.""'
        '"\n    result = 0\n    for index, row in enumerate(rows):\n        '
        "if row.get(key) is not None and index % 2 == 0:\n            resu"
        "lt += row[key]\n    return result\n",
        (79, 79, 90),
    ),
    "json": (
        '{"id": "conv_0199f3b2c4d87d1a9f3c2b1a0e9d8c7b", "items": [1, 22,'
        ' 333], "ok": true, "name": null}',
        (58, 58, 64),
    ),
    "digits": (
        "31415926535897932384626433832795028841971693993751",
        (17, 17, 50),
    ),
    "hash": (
        "d41d8cd98f00b204e9800998ecf8427e da39a3ee5e6b4b0d3255bfef95601890afd80709",
        (42, 42, 64),
    ),
    "base64": (
        "VGhlIGxpYnJhcnkgY2xvc2VzIGF0IG5pbmUgdG9uaWdodCwgc28gd2Ugc2hvdWxkIHJldHVybg==",
        (48, 53, 47),
    ),
    "indented": (
        "a:\n  - b\n    - b\n        - b\n            - b\n                        - b\n",
        (22, 22, 23),
    ),
    "german": (
        "Die Straße führt über den Fluß; das Wörterbuch liegt schöner Wei"
        "se auf dem Küchentisch, nämlich wie früher.",
        (24, 34, 25),
    ),
    "french": (
        "L'été dernier, nous étions à la plage où les élèves préféraient déjeuner près du théâtre.",
        (20, 29, 20),
    ),
    "russian": (
        "Сегодня хорошая погода, и мы идём гулять в парк вместе с детьми.",
        (18, 36, 17),
    ),
    "greek": (
        "Καλημέρα σας, τι κάνετε σήμερα; Ο καιρός είναι πολύ ωραίος.",
        (20, 52, 20),
    ),
    "arabic": (
        "مرحبا كيف حالك اليوم؟ أتمنى أن تكون بخير وأن يكون يومك جميلا.",
        (21, 47, 21),
    ),
    "hebrew": (
        "שלום, מה שלומך היום? אני מקווה שהכל בסדר אצלך ואצל המשפחה.",
        (22, 57, 24),
    ),
    "hindi": (
        "नमस्ते, आप कैसे हैं? मुझे आशा है कि आप और आपका परिवार ठीक होंगे।",
        (21, 64, 24),
    ),
    "thai": (
        "สวัสดีครับ วันนี้เป็นอย่างไรบ้าง ผมหวังว่าคุณสบายดี",
        (21, 46, 17),
    ),
    "tamil": (
        "வணக்கம், எப்படி இருக்கிறீர்கள்? இது தமிழில் ஒரு சோதனை உரை.",
        (20, 78, 27),
    ),
    "chinese": (
        "今天天气很好,我们一起去公园散步吧。晚上还要去图书馆还书。",
        (24, 35, 18),
    ),
    "japanese": (
        "今日はとても良い天気ですね。カタカナとひらがなと漢字が混ざっています。",
        (26, 36, 18),
    ),
    "korean": (
        "안녕하세요, 오늘 날씨가 정말 좋네요. 우리 같이 공원에 갈까요?",
        (19, 39, 25),
    ),
    "emoji": (
        "😀😂🥰👍🎉🔥💯🙏🤔😭",
        (14, 26, 10),
    ),
    "families": (
        "👨‍👩‍👧‍👦🏳️‍🌈👩🏽‍💻🧑🏿‍🚀❤️‍🔥",
        (35, 56, 22),
    ),
    "mathematics": (
        "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β = ¬(¬α ∨ β), ∫₀^∞ e^{-x²} dx = √π/2",
        (55, 57, 46),
    ),
    "boxes": (
        "┌───┬───┐\n│ a │ b │\n├───┼───┤\n└───┴───┘",
        (37, 38, 23),
    ),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_it_is_not_below_any_tokenizer_and_not_far_above_the_dearest(name: str) -> None:
    text, counted = SAMPLES[name]
    assert max(counted) <= estimate(text) <= 1.8 * max(counted) + 3


def test_plain_english_and_code_are_not_much_too_dear() -> None:
    for name in ("english", "chat", "python", "json", "indented"):
        text, counted = SAMPLES[name]
        assert estimate(text) <= 1.6 * min(counted)


def test_a_lone_surrogate_is_measured_like_any_character() -> None:
    assert 0 < estimate("\ud800") <= at_most(1)


@given(st.text(max_size=300))
def test_it_stays_between_one_and_the_bound(text: str) -> None:
    tokens = estimate(text)
    assert tokens <= at_most(len(text))
    assert (tokens > 0) == bool(text)


@given(st.text(max_size=100), st.text(max_size=100))
def test_more_text_never_costs_less(text: str, more: str) -> None:
    assert estimate(text + more) >= max(estimate(text), estimate(more)) - 1


@given(st.text(max_size=100), st.integers(2, 5))
@example("00\x80\x80\x80\x80\x80\x80\u3000\u3000", 3)
def test_it_grows_with_the_text(text: str, times: int) -> None:
    once = estimate(text + "\n")
    assert estimate((text + "\n") * times) <= once * times
    assert estimate((text + "\n") * times) >= (once - 1) * times
