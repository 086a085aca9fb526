"""The `handrail` command."""

import sys


def main() -> None:
    """Run the command line; known errors become one clear line and exit code 1."""
    from handrail.cli.app import app
    from handrail.core.errors import HandrailError

    try:
        app()
    except HandrailError as error:
        print(f"handrail: {error.message}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has left (`handrail release list | head`).
        sys.stderr.close()
        sys.exit(0)
