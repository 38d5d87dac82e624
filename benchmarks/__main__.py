"""`python -m benchmarks`: run the benchmarks, write their JSON and plots, print what they say."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError
from benchmarks.record import RESULTS, Record, write


def main() -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure speed on this machine. Nothing else should run meanwhile.",
    )
    parser.add_argument(
        "--full", action="store_true", help="more runs, wider sweeps, a clip of 10 minutes"
    )
    parser.add_argument(
        "--gpu", action="store_true", help="the video tower on a GPU, in every runtime there is"
    )
    parser.add_argument(
        "--only",
        choices=sorted([*BENCHMARKS, *WITHOUT_TOWERS]),
        help="one benchmark alone",
    )
    parser.add_argument(
        "clips", nargs="*", type=Path, metavar="CLIP", help="clips of yours, for --only ingest"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder for JSON and plots (%(default)s)"
    )
    arguments = parser.parse_args()
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    try:
        if arguments.gpu:
            _gpu(arguments.results, command)
        else:
            if arguments.clips and arguments.only != "ingest":
                raise BenchmarkError("only ingest measures clips that are named: add --only ingest")
            if arguments.only in WITHOUT_TOWERS:
                _without_towers(arguments, command)
            else:
                _cpu(arguments.results, command, full=arguments.full, only=arguments.only)
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


def _cpu(results: Path, command: str, *, full: bool, only: str | None) -> None:
    from benchmarks.setup import full_size
    from syncnet_client.faces import yunet_file

    with tempfile.TemporaryDirectory(prefix="syncnet-benchmarks-") as name:
        folder = Path(name)
        print("exporting full-size towers of random weights", file=sys.stderr)
        towers = full_size(folder)
        weights = {
            "kind": "seeded random weights of the published layout, width 1.0",
            "checkpoint_sha256": towers.checkpoint_sha256,
        }
        for benchmark, measure in BENCHMARKS.items():
            if only is None and benchmark in NEED_YUNET and not yunet_file().is_file():
                print(f"leaving {benchmark} out: it needs YuNet", file=sys.stderr)
            elif only in (None, benchmark):
                print(f"measuring {benchmark}", file=sys.stderr)
                figures = measure(towers, folder, full)
                path = write(benchmark, command, {"weights": weights, **figures}, results)
                _plot(benchmark, figures, results)
                print(path)


def _without_towers(arguments: argparse.Namespace, command: str) -> None:
    name, results = arguments.only, arguments.results

    def record(figures: dict[str, Any]) -> None:
        path = write(name, command, figures, results)
        _plot(name, figures, results)
        print(f"wrote {path}", file=sys.stderr)

    print(f"measuring {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="syncnet-benchmarks-") as folder:
        WITHOUT_TOWERS[name](Path(folder), arguments.clips, arguments.full, record)
    print(results / f"{name}.json")


def _end_to_end(towers: Any, folder: Path, full: bool) -> dict[str, Any]:
    from benchmarks import end_to_end

    return end_to_end.run(towers, folder, rounds=5 if full else 1, long_clip=full)


def _scene(towers: Any, folder: Path, full: bool) -> dict[str, Any]:
    from benchmarks import scene

    return scene.run(towers, folder, rounds=3 if full else 1)


def _precisions(towers: Any, _folder: Path, full: bool) -> dict[str, Any]:
    from benchmarks import precisions

    return precisions.run(towers, rounds=5 if full else 2)


def _stages(towers: Any, folder: Path, full: bool) -> dict[str, Any]:
    from benchmarks import stages

    return stages.run(towers, folder, rounds=5 if full else 2)


def _load(towers: Any, folder: Path, full: bool) -> dict[str, Any]:
    from benchmarks import load
    from benchmarks.setup import FASTEST

    return load.run(towers, folder, profile=FASTEST, full=full)


def _concurrent(towers: Any, folder: Path, full: bool) -> dict[str, Any]:
    from benchmarks import concurrent

    return concurrent.run(towers, folder, rounds=2 if full else 1)


def _ingest(folder: Path, clips: list[Path], full: bool, record: Record) -> None:
    from benchmarks import ingest

    ingest.run(folder, clips, rounds=7 if full else 3, record=record)


def _memory(folder: Path, _clips: list[Path], full: bool, record: Record) -> None:
    from benchmarks import memory

    memory.run(folder, seconds=600 if full else 60, record=record)


def _mfcc(folder: Path, _clips: list[Path], full: bool, record: Record) -> None:
    from benchmarks import mfcc

    record(mfcc.run(folder, rounds=5 if full else 3))


BENCHMARKS: dict[str, Callable[[Any, Path, bool], dict[str, Any]]] = {
    "end_to_end": _end_to_end,
    "scene": _scene,
    "precisions": _precisions,
    "stages": _stages,
    "load": _load,
    "concurrent": _concurrent,
}
NEED_YUNET = {"scene"}
# These write what they have after each row; no full-size towers are made for them.
WITHOUT_TOWERS: dict[str, Callable[[Path, list[Path], bool, Record], None]] = {
    "ingest": _ingest,
    "memory": _memory,
    "mfcc": _mfcc,
}


def _plot(benchmark: str, figures: dict[str, Any], results: Path) -> None:
    from benchmarks import plots

    if benchmark == "ingest":
        plots.ingest_costs(figures["clips"], results / "ingest.png")
    elif benchmark == "stages":
        plots.stage_bars(figures["stages_s"], figures["clip_s"], results / "stages.png")
    elif benchmark == "load":
        plots.throughput_against_latency(
            {
                "gRPC": figures["ensemble_by_concurrency"],
                "gRPC, system shared memory": figures["ensemble_shared_memory"],
                "gRPC, no dynamic batching": figures["ensemble_without_dynamic_batching"],
            },
            results / "load.png",
        )


def _gpu(results: Path, command: str) -> None:
    import torch

    from benchmarks import gpu

    if not torch.cuda.is_available():
        raise BenchmarkError("--gpu needs torch with CUDA and a GPU; there is none here")

    def record(figures: dict[str, Any]) -> None:
        write("gpu", command, figures, results)
        print(f"measured {figures['rows'][-1]['way']}", file=sys.stderr)

    figures = gpu.run(
        device=torch.device("cuda"),
        width=1.0,
        windows=(256, 1024),
        calls=10,
        repeats=5,
        record=record,
    )
    print(results / "gpu.json")
    if failed := gpu.failures(figures):
        raise BenchmarkError(f"failed, or past the tolerance of its precision: {', '.join(failed)}")


if __name__ == "__main__":
    sys.exit(main())
