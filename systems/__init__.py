"""The systems under test. Nothing here knows that it is being tested."""

import sys
from typing import Any, cast


def _load_kio_without_hypothesis() -> None:
    """kio registers its types with Hypothesis wherever that is installed: most of a second at every start of a node,
    and a `.hypothesis` folder wherever the user happens to stand. Loaded while Hypothesis looks absent, it does not."""
    if "hypothesis" in sys.modules or "kio.static._phantom" in sys.modules:
        return
    modules = cast(dict[str, Any], sys.modules)
    modules["hypothesis.strategies"] = None
    try:
        import kio.static._phantom  # noqa: F401
    except ImportError:
        pass  # kio is missing: whoever needs it says so
    finally:
        del modules["hypothesis.strategies"]


_load_kio_without_hypothesis()
