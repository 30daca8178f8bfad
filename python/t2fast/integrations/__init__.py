"""Doors through which other projects use t2fast: one file each, loaded only by whoever imports it."""
