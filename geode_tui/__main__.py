"""`python -m geode_tui`."""

from __future__ import annotations

import sys

from geode_tui.cli import main

if __name__ == "__main__":
    sys.exit(main())
