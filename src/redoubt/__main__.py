"""`python -m redoubt`."""

from redoubt.cli import main

main()
