"""``python -m t2fast``: the command line."""

from t2fast.cli import main

main()
