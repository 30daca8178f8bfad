"""Speed of ``t2fast_kernels`` beside its peers, in one process, against floors measured on the same card.

``python -m bench.kernels`` runs everything in at most eight minutes on an H100; bench/README.md explains the columns.
"""
