"""Figures drawn from result objects with matplotlib."""
