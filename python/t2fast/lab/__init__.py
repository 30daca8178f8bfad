"""The train-to-test study in miniature: train a suite of small models, sample, fit, plan, and check the prediction.

``t2fast lab run`` does it all. Needs ``t2fast[lab]``: torch, transformers and matplotlib; :mod:`t2fast.lab.verdicts` needs
none of them and works on the table that comes with t2fast (:func:`t2fast.datasets.load_lab`).
"""
