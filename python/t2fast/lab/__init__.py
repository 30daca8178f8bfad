"""The train-to-test study in miniature: train a suite of small models, sample, fit, plan, and check the prediction.

``t2fast lab run`` does it all, and needs ``t2fast[lab]``. :mod:`t2fast.lab.verdicts` works without torch, on the table
that comes with t2fast (:func:`t2fast.datasets.load_lab`) as on your own.
"""
