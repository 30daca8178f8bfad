"""Verifiers: is this answer right? Those of one's own are any callable ``(Prompt, text) -> bool | float``.

Nothing that a model wrote is ever executed here. To run it, give a command that does so in a sandbox.
"""

from t2fast.sampling.verify.choice import Choice
from t2fast.sampling.verify.command import Command
from t2fast.sampling.verify.extract import load_extractor, usual_extractor
from t2fast.sampling.verify.function import Timed
from t2fast.sampling.verify.maths import Math
from t2fast.sampling.verify.names import load_verifier, suit, usual
from t2fast.sampling.verify.numeric import Numeric
from t2fast.sampling.verify.pattern import Regex
from t2fast.sampling.verify.reasoning import AfterReasoning
from t2fast.sampling.verify.text import Exact, Normalised
from t2fast.sampling.verify.verdict import Verdict, Verifier, judge

__all__ = [
    "AfterReasoning",
    "Choice",
    "Command",
    "Exact",
    "Math",
    "Normalised",
    "Numeric",
    "Regex",
    "Timed",
    "Verdict",
    "Verifier",
    "judge",
    "load_extractor",
    "load_verifier",
    "suit",
    "usual",
    "usual_extractor",
]
