"""``python -m study`` is ``drft-study``."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is imported has no traceback either."""
    try:
        from study.cli import main as command_line  # noqa: PLC0415 (its import is the first thing that takes time)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    command_line()


if __name__ == "__main__":
    main()
