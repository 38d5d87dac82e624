"""`syncnet-train`: make data, train, evaluate and time the towers."""

import sys
from typing import NoReturn

import typer

from syncnet_client.errors import SyncNetError
from syncnet_export.errors import ExportError
from syncnet_training.commands.evaluate import evaluate
from syncnet_training.commands.fit import fit
from syncnet_training.commands.prepare import prepare
from syncnet_training.commands.profile import profile
from syncnet_training.commands.synthesize import synthesize
from syncnet_training.errors import TrainingError

app = typer.Typer(
    help="Make synthetic talking heads or prepare your own, train SyncNet on them, measure it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (synthesize, prepare, fit, evaluate, profile):
    app.command()(command)


def main() -> None:
    """Entry point: errors of use are one line on stderr and exit status 1, bugs a traceback."""
    try:
        app()
    except (TrainingError, ExportError, SyncNetError) as error:
        _fail(str(error))
    except OSError as error:
        # A file that cannot be read or written; without one it is a bug.
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}")


def _fail(reason: str) -> NoReturn:
    print(f"syncnet-train: {reason}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
