"""`python -m marketplace.cli` is `usufruct`."""

from marketplace.cli.main import main

main()
