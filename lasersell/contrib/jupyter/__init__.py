"""
Notebooks: rich views, and a live one.

    %load_ext lasersell
    live(session)

Needs the extra ``jupyter``; without it the import raises ``MissingExtraError``.
Nothing here needs an event loop or touches the kernel's.
"""

from __future__ import annotations

from lasersell.errors import MissingExtraError

# One check for the whole package: its own modules import it without a word.
try:
    import IPython  # noqa: F401  only to see whether it is there
except ImportError as error:
    raise MissingExtraError("lasersell.contrib.jupyter", "jupyter") from error

from lasersell.contrib.jupyter.extension import (
    load_ipython_extension,
    unload_ipython_extension,
)
from lasersell.contrib.jupyter.live import LiveView, live

__all__ = ["LiveView", "live", "load_ipython_extension", "unload_ipython_extension"]
