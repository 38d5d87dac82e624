"""Batches on the device, copied while it computes."""

from collections.abc import Iterable, Iterator

import torch

from syncnet_training.data import Batch

__all__ = ["on_device"]


def on_device(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The batches, with the tensors that a step needs on `device`.

    On a GPU the next batch is copied from page-locked memory on a stream of its own while the
    current one is computed on.
    """
    if device.type != "cuda":
        yield from batches
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    current: Batch | None = None
    for batch in batches:
        with torch.cuda.stream(stream):
            following = _copy(batch, device)
        if current is not None:
            yield current
        torch.cuda.current_stream(device).wait_stream(stream)
        for tensor in following[:-1]:
            # Made on one stream and used on another: its memory must not be reused before.
            tensor.record_stream(torch.cuda.current_stream(device))
        current = following
    if current is not None:
        yield current


def _copy(batch: Batch, device: torch.device) -> Batch:
    frames, mfcc, targets, jaw = (t.to(device, non_blocking=True) for t in batch[:-1])
    return Batch(frames, mfcc, targets, jaw, batch.seconds)
