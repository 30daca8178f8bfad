"""Rules: how one answer is chosen from k samples, and so what accuracy they make.

pass@k assumes somebody who recognises the right answer (:class:`AnyCorrect`). Whoever deploys a model has a verifier
that errs (:class:`Verifier`), votes (:class:`Majority`) or a score (:class:`BestOf`). Everything that plans takes one
as ``rule=``; :mod:`t2fast.passk` fits them from verdicts, answers and scores.
"""

from t2fast.rules.best import BestOf
from t2fast.rules.rule import AnyCorrect, Rule, as_rule, load_rule
from t2fast.rules.tail import Tail
from t2fast.rules.verifier import Verifier
from t2fast.rules.vote import Majority

__all__ = ["AnyCorrect", "BestOf", "Majority", "Rule", "Tail", "Verifier", "as_rule", "load_rule"]
