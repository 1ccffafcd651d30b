"""`python -m zq` is `zq`."""

from zq.cli import main

main()
