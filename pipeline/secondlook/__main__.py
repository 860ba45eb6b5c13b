"""``python -m secondlook``."""

from secondlook.cli import main

main()
