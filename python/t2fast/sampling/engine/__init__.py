"""The engine: how samples are drawn. :class:`Sampler` is its face; everything here needs torch."""
