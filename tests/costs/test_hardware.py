import json

import pytest

import t2fast as t2
from t2fast import costs


@pytest.mark.parametrize("name", list(costs.cards()))
def test_shipped_cards_name_source_price_and_date(name):
    card = costs.load_card(name)
    assert card.source
    assert card.price_date
    assert card.dollars_per_hour > 0
    assert costs.load_card(name.upper(), dollars_per_hour=7.0).dollars_per_hour == 7.0


def test_weights_of_fewer_bits_than_a_card_multiplies_are_unpacked():
    assert costs.load_card("a100").peak("fp8") == costs.load_card("a100").peak("bf16")
    assert costs.load_card("h100").peak("fp8") == 1.979e15
    assert costs.load_card("h100").peak("fp4") == 9.89e14


def test_a_card_goes_through_its_file(tmp_path):
    path = tmp_path / "card.json"
    card = costs.load_card("h200", dollars_per_hour=1.0)
    path.write_text(json.dumps(card.to_dict()))
    assert costs.load_card(path) == card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no", "not JSON"),
        ("{}", "is no card"),
        ('{"flops": {"fp8": 1}, "memory_bytes": 1, "memory_bytes_per_second": 1}', "bf16 at least"),
        ('{"flops": {"bf16": 1e15}, "memory_bytes": 0, "memory_bytes_per_second": 1}', "memory_bytes = 0"),
        (
            '{"flops": {"bf16": 1e15}, "memory_bytes": 1, "memory_bytes_per_second": 1, "constants": {"speed": 1}}',
            "unknown speed",
        ),
    ],
)
def test_a_file_that_is_no_card_is_refused(tmp_path, text, message):
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(t2.T2Error, match=message):
        costs.load_card(path)
