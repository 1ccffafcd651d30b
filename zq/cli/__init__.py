"""The command line. This module stays small: `zq --help` and `zq status` load nothing that they do not need."""


def main() -> None:
    """Runs the command line; the entry point of `zq`."""
    from zq.cli.app import run

    run()
