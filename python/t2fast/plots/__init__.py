"""Figures of results, one module per verb; importing this package needs matplotlib, the ``plot`` extra."""

try:
    import matplotlib as _  # noqa: F401
except ModuleNotFoundError:
    from t2fast.errors import MissingExtraError

    raise MissingExtraError("figures need matplotlib: pip install 't2fast[plot]'") from None
