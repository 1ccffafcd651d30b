"""`python -m zq.cli` is `zq`."""

from zq.cli import main

main()
