"""Slow versions of what t2fast computes, simple enough to be checked at a glance."""
