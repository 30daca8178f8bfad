"""Laws of success rates under a rule."""

import t2fast as t2
from t2fast.laws import under_rule


def test_rules_with_tables_make_few_of_them():
    tails = [((0.5 + i / 200, 0.5 - i / 200),) for i in range(50)]
    rule = t2.Majority(t2.Tail(((0.6, 0.4),)), draws={"shares": tails})
    made = list(under_rule(t2.load_law("pythia-gsm8k"), rule).resampled())
    assert len(made) > 12
    assert len({id(law._rule) for law in made}) == 12
    assert [law.rule.tail.shares for law in made[:13]] == [*tails[:12], tails[0]]
    assert made[0].law != made[12].law
    assert made[0].value(1e8, 1e11, 9) == under_rule(made[0].law, made[0].rule).value(1e8, 1e11, 9)
