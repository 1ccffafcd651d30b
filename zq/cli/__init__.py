"""The command line. This module stays small: `zq --help` and `zq status` load nothing that they do not need.

May import: everything, inside of the functions that need it. What a command does beside reading arguments and printing
belongs where programs find it, too.
"""


def main() -> None:
    """Runs the command line; the entry point of `zq`."""
    import gc

    from zq.processes.descriptors import take_standard

    take_standard()  # before anything is opened

    from zq.cli.app import run

    try:
        run()
    finally:
        gc.freeze()  # else the interpreter looks through all that was loaded before it ends, a tenth of a quick command
