"""``python -m alservice.cli``."""

from __future__ import annotations

from alservice.cli import main

if __name__ == "__main__":
    main()
