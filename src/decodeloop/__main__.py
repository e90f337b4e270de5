"""`python -m decodeloop` is `decodeloop`."""

from decodeloop.commands import main

main()
