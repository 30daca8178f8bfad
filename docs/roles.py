"""The reference shows names in docstrings as code: without the roles that mark them in the source."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: ``:func:`plan```, or ``:class:`~t2fast.laws.Law``` for its last part.
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):`(?:~[\w.]*?(\w+)|([^`~]+))`")


class Roles(griffe.Extension):
    """Rewrites docstrings as they are read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = ROLE.sub(lambda found: f"`{found[1] or found[2]}`", obj.docstring.value)
