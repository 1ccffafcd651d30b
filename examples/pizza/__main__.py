"""An evening at the pizza shops, one of which is killed while it bakes: `python examples/pizza [options of zq demo]`.

The town is in the package, in zq/demo, where `zq demo` runs it without end and with the dashboard; this is
`zq demo --once`. A pipeline of pizzas, with its code to read, is `python examples/pizza_pipeline.py`.
"""

import sys

from zq.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["demo", "--once"]
    main()
