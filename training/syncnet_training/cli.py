"""`syncnet-train`: make data, train, evaluate and time the towers."""

import sys

from syncnet_client.errors import SyncNetError, UsageError
from syncnet_export.errors import ExportError
from syncnet_programs.program import Program
from syncnet_training.commands.evaluate import evaluate
from syncnet_training.commands.fit import fit
from syncnet_training.commands.prepare import prepare
from syncnet_training.commands.profile import profile
from syncnet_training.commands.synthesize import synthesize
from syncnet_training.errors import TrainingError

PROGRAM = Program(
    "syncnet-train",
    "Make synthetic talking heads or prepare your own, train SyncNet on them, measure it.",
    failures=(TrainingError, ExportError, SyncNetError),
    usage=(UsageError,),
    extra="training",
)
PROGRAM.command(synthesize, examples=["syncnet-train synthesize clips/ --clips 1000 --jobs 8"])
PROGRAM.command(prepare, examples=["syncnet-train prepare clips/ interviews/*.mp4 --local"])
PROGRAM.command(
    fit,
    examples=[
        "syncnet-train fit clips/ --run runs/first",
        "syncnet-train fit clips/ --run runs/first --resume",
    ],
)
PROGRAM.command(evaluate, examples=["syncnet-train evaluate runs/first/weights.safetensors"])
PROGRAM.command(profile, examples=["syncnet-train profile --batch 256 --steps 10"])


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(PROGRAM.run())


if __name__ == "__main__":
    main()
