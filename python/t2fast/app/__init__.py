"""The planner as a page in the browser: served on loopback (``server``), or written to one file (``page``).

The page asks what the command line asks: its fields are the options of ``t2fast plan``, its address holds them, and its
answers are the results of the same functions.
"""
