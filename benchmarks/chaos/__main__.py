"""`python -m benchmarks.chaos`: run the schedule, write the JSON, say whether anything was lost."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import FAULTS, FILLING
from benchmarks.chaos.schedule import SITES, WEIGHTS, Planned, plan
from benchmarks.chaos.sites import Client, Site, wait_until
from benchmarks.chaos.verdict import judge, longest_outage_s, longest_outages_s
from benchmarks.chaos.world import DISTINCT, INSIDE, enter, leftovers, write_clips
from benchmarks.record import RESULTS, write

_AT_FIRST = 0.2  # share of the clips that are there from the beginning
_READY_S = 120.0
_BUSY_S = 10.0  # to wait for a client at work before a fault
_RECOVERY_S = 60.0
_SPREAD_S = 1.5  # faults come up to so long after the client is at work


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chaos",
        description="Score clips while servers, clients and disks fail; count what is lost.",
    )
    parser.add_argument("--clips", type=int, default=60, help="in all (%(default)s)")
    parser.add_argument("--faults", type=int, default=20, help="in all (%(default)s)")
    parser.add_argument("--frames", type=int, default=60, help="of a clip (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="clips at once on a site (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the schedule (%(default)s)")
    parser.add_argument("--limit", type=float, default=180, help="seconds in all (%(default)s)")
    parser.add_argument(
        "--longest-outage",
        type=float,
        default=10,
        metavar="SECONDS",
        help="without an answer from a site that are not a problem (%(default)s)",
    )
    parser.add_argument(
        "--model-repository",
        type=Path,
        metavar="FOLDER",
        help="what the servers serve (random towers, a sixteenth as wide as the published ones)",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder (%(default)s)")
    options = parser.parse_args(arguments)
    status = enter(arguments)
    if status is not None:
        return status
    kinds = {k: w for k, w in WEIGHTS.items() if os.environ.get(INSIDE) or k not in FILLING}
    figures = run(options, plan(options.faults, options.seed, kinds))
    figures["skipped_kinds"] = sorted(WEIGHTS.keys() - kinds.keys())
    command = (
        f"python -m benchmarks.chaos --clips {options.clips} --faults {options.faults} "
        f"--frames {options.frames} --jobs {options.jobs} --seed {options.seed} "
        f"--limit {options.limit:g}"
    )
    write("chaos", command, figures, options.results)
    print(_summary(figures))
    for problem in figures["problems"]:
        print(f"chaos: {problem}", file=sys.stderr)
    return 1 if figures["problems"] else 0


def run(options: argparse.Namespace, schedule: Sequence[Planned]) -> dict[str, Any]:
    """Run both sites through the schedule and return the figures."""
    began = time.monotonic()
    deadline = began + options.limit
    done: list[Planned] = []
    turns = _Turns()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        folder = Path(name)
        repository = options.model_repository or _narrow_repository(folder)
        clips = folder / "clips"
        write_clips(clips, options.clips, options.frames)
        paths = sorted(clips.iterdir())
        shares = {site: paths[number :: len(SITES)] for number, site in enumerate(SITES)}
        with ExitStack() as stack:
            sites = [
                stack.enter_context(
                    Site.running(site, repository, shares[site], folder / site, options.jobs)
                )
                for site in SITES
            ]
            for site in sites:
                if not site.probe.wait_for_answer(0.0, _READY_S):
                    raise TimeoutError(f"site {site.name} does not answer")
            # On both, so that memory is compared with that of a server that has worked.
            quiet, _ = (_quiet_records(site, paths, folder, options.jobs) for site in sites)
            before = {site.name: site.memory_mb() for site in sites}
            workers = [
                threading.Thread(
                    target=_torment,
                    args=(
                        site,
                        [f for f in schedule if f.site == site.name],
                        deadline,
                        done,
                        turns,
                    ),
                )
                for site in sites
            ]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
            after = {site.name: site.memory_mb() for site in sites}
            clients = {site.name: site.client for site in sites}
        # Without namespaces of our own, what others run here would count, too.
        left = leftovers(_ourselves()) if os.environ.get(INSIDE) else None
        figures = [_site_figures(site, clients[site.name], quiet, sites) for site in sites]
        problems = _problems(figures, left, options.longest_outage)
        if len(done) < len(schedule):
            problems.append(f"time for {len(done)} of {len(schedule)} faults only")
        if problems:
            _print_logs(folder)
        return {
            "seed": options.seed,
            "clips": options.clips,
            "frames_of_a_clip": options.frames,
            "seconds": round(time.monotonic() - began, 1),
            "faults": len(done),
            "faults_by_kind": dict(sorted(Counter(fault.kind for fault in done).items())),
            "sites": [
                {
                    **figure,
                    "memory_before_mb": round(before[figure["site"]]),
                    "memory_after_mb": round(after[figure["site"]]),
                }
                for figure in figures
            ],
            "leftovers": left,
            "problems": problems,
        }


def _summary(figures: dict[str, Any]) -> str:
    lines = [f"{figures['faults']} faults on {figures['clips']} clips in {figures['seconds']} s"]
    lines += [
        ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in site.items())
        for site in figures["sites"]
    ]
    return "\n".join(lines)


class _Turns:
    """Lets sites be hit at the same time, except by what hits both: that comes alone."""

    def __init__(self) -> None:
        self._gathering = threading.Lock()
        self._free = threading.Semaphore(len(SITES))

    @contextmanager
    def of_one(self) -> Iterator[None]:
        with self._gathering:
            self._free.acquire()
        yield
        self._free.release()

    @contextmanager
    def of_all(self) -> Iterator[None]:
        with self._gathering:
            for _ in SITES:
                self._free.acquire()
        yield
        for _ in SITES:
            self._free.release()


def _torment(
    site: Site, schedule: Sequence[Planned], deadline: float, done: list[Planned], turns: _Turns
) -> None:
    """Let the faults of one site happen one after the other while its client is at work."""
    client = site.start_client()
    total = len(site.clips)
    first = int(total * _AT_FIRST)
    for number, fault in enumerate(schedule, start=1):
        client.release(first + (total - first) * number // len(schedule))
        wait_until(lambda: client.is_scoring, _BUSY_S)
        if time.monotonic() > deadline:
            break
        source = random.Random(fault.seed)
        time.sleep(source.random() * _SPREAD_S)
        busy = client.is_scoring
        with turns.of_all() if fault.kind in FILLING else turns.of_one():
            began = time.monotonic()
            site.faults.append((began, fault.kind))
            FAULTS[fault.kind](site, source)
            done.append(fault)
            ended = time.monotonic()
            site.probe.wait_for_answer(ended, _RECOVERY_S)
            wait_until(lambda: site.is_whole, _RECOVERY_S)
        print(
            f"{site.name}: {fault.kind}{'' if busy else ' (nobody at work)'}, "
            f"{ended - began:.1f} s long, {time.monotonic() - ended:.1f} s until all is well",
            file=sys.stderr,
        )
    client.release(total)
    wait_until(lambda: client.is_done, max(_RECOVERY_S, deadline - time.monotonic()))
    client.stop()


def _quiet_records(
    site: Site, clips: Sequence[Path], folder: Path, jobs: int
) -> dict[str, dict[str, Any]]:
    """Score every distinct clip undisturbed; a copy has the record of its original."""
    originals = clips[:DISTINCT]
    place = folder / f"quiet-{site.name}"
    place.mkdir()
    client = Client(site.url, originals, place, jobs)
    client.release(len(originals))
    if not wait_until(lambda: client.is_done, _READY_S):
        raise TimeoutError("the quiet run does not end")
    client.stop()
    by_name = {Path(record["clip"]).name: record for record in client.records()}
    return {
        clip.name: by_name[originals[number % len(originals)].name]
        for number, clip in enumerate(clips)
    }


def _site_figures(
    site: Site,
    client: Client | None,
    quiet: dict[str, dict[str, Any]],
    sites: Sequence[Site],
) -> dict[str, Any]:
    assert client is not None
    expected = {clip.name: {**quiet[clip.name], "clip": clip.name} for clip in site.clips}
    records = [{**record, "clip": Path(record["clip"]).name} for record in client.records()]
    outcome = judge(records, expected)
    # Disks are shared: what holds one site still may hold the other.
    paused = [pause for each in sites for pause in each.paused]
    failures = Counter(record["error"] for record in records if "error" in record)
    return {
        "site": site.name,
        **asdict(outcome),
        "failures": dict(failures),
        "client_runs": client.runs,
        "longest_outage_s": round(longest_outage_s(site.probe.answered, paused), 1),
        "longest_outage_s_by_kind": {
            kind: round(longest_s, 1)
            for kind, longest_s in sorted(
                longest_outages_s(site.probe.answered, paused, site.faults).items()
            )
        },
    }


def _problems(
    figures: Sequence[dict[str, Any]], left: Sequence[str] | None, longest_s: float
) -> list[str]:
    problems = [f"left behind: {what}" for what in left or ()]
    for figure in figures:
        problems += [
            f"{figure['site']}: {figure[count]} {count.replace('_', ' ')}"
            for count in ("lost", "doubled", "different", "false_failures")
            if figure[count]
        ]
        if figure["longest_outage_s"] > longest_s:
            problems.append(f"{figure['site']}: no answer for {figure['longest_outage_s']} s")
    return problems


def _narrow_repository(folder: Path) -> Path:
    """A repository with random towers a sixteenth as wide as the published ones."""
    from safetensors.torch import save_file

    from benchmarks.setup import copy_repository
    from syncnet_export import build
    from syncnet_export.network import random_checkpoint

    weights = folder / "narrow.safetensors"
    save_file(random_checkpoint(seed=1, width=1 / 16), weights)
    repository = copy_repository(folder)
    build(weights, model_repository=repository, version=1)
    return repository


def _ourselves() -> set[int]:
    return {os.getpid(), os.getppid()}


def _print_logs(folder: Path) -> None:
    for log in sorted(folder.glob("*/*.log")):
        print(f"--- {log.parent.name}/{log.name}", file=sys.stderr)
        print("\n".join(log.read_text(errors="replace").splitlines()[-40:]), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
