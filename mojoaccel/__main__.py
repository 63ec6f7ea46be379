"""``python -m mojoaccel``."""

from mojoaccel.cli import main

main()
