"""Fuzzing of everything that reads what others wrote.

One rule: whatever the bytes, a reader gives a value or raises a T2Error. `targets` holds the readers, `seeds` honest
inputs of every format, `mutate` turns one into a broken one. Every input follows from a seed and an index, so that what
is found can be made again.

    python -m tests.fuzz --seconds 600                 # mutations of the seeds
    python -m tests.fuzz --coverage --seconds 600      # guided by coverage, with atheris installed
"""
