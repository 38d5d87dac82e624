"""The trainer: towers, objective, batches, augmentation, runs, evaluation, timing."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from syncnet_export.checkpoint import load_checkpoint, save_checkpoint
from syncnet_export.network import SyncNet, random_checkpoint
from syncnet_training import evaluate, storage
from syncnet_training.augment import augment_audio, augment_video
from syncnet_training.cli import main
from syncnet_training.data import Batches, BatchShape, audio_windows, batch_loader
from syncnet_training.embedding import embed_audio, embed_video, video_windows
from syncnet_training.errors import CheckpointError, DatasetError, TrainingError
from syncnet_training.evaluate import (
    EvaluationClip,
    Separation,
    evaluate_in_sync,
    evaluate_real,
)
from syncnet_training.finish import finish
from syncnet_training.fit import FitConfig, Report, fit
from syncnet_training.losses import jaw_loss, pairwise_distances, sync_loss
from syncnet_training.profile import profile
from syncnet_training.step import PARTS, StepConfig, TrainingStep, one_cycle
from syncnet_training.storage import Clip, open_clips, to_bgr

FRAMES = 20  # of the clips on disk here: 15 windows
SHAPE = BatchShape(clips=2, windows=3, stride=2, margin=2)
NARROW = 0.08  # 8 channels in the first layers
CPU = torch.device("cpu")


def write_clip(folder: Path, seed: int, frames: int = FRAMES, *, jaw: bool = True) -> None:
    """A clip in the trainer's format: blurred noise for pictures, noise for sound."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (frames, 7, 7, 3), dtype=np.uint8)
    images = [cv2.resize(each, (224, 224), interpolation=cv2.INTER_CUBIC) for each in coarse]
    samples = rng.integers(-9000, 9000, 640 * frames).astype(np.int16)
    about = {"jaw": rng.random(frames).tolist()} if jaw else {}
    storage.write_clip(folder, np.array(images, np.uint8), samples, about)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for index in range(5):
        write_clip(root / f"clip_{index:06d}", index)
    return root


# Towers


@pytest.mark.parametrize("stride", [1, 3])
def test_the_2d_form_is_the_published_network(stride: int) -> None:
    network = SyncNet.of_width(NARROW).eval()
    frames = torch.randint(0, 256, (2, 11, 224, 224, 3), dtype=torch.uint8)
    starts = range(0, 7, stride)
    published = torch.stack([frames[:, start : start + 5] for start in starts], dim=1)
    with torch.no_grad():
        expected = network.forward_video(published.flatten(0, 1).permute(0, 4, 1, 2, 3).float())
        actual = embed_video(network, video_windows(frames, stride))
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_the_2d_form_trains_the_published_network() -> None:
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (6, 5, 224, 224, 3), dtype=torch.uint8)
    ours, published = SyncNet.of_width(NARROW), SyncNet.of_width(NARROW)
    published.load_state_dict(ours.state_dict())
    embed_video(ours, video_windows(frames)).square().mean().backward()
    published.forward_video(frames.permute(0, 4, 1, 2, 3).float()).square().mean().backward()
    gradients = dict(published.netcnnlip.named_parameters())
    for name, parameter in ours.netcnnlip.named_parameters():
        if name.endswith("weight"):  # biases before a norm have gradients of rounding errors only
            expected = gradients[name].grad
            assert parameter.grad is not None
            assert expected is not None
            assert (parameter.grad - expected).norm() < 1e-2 * expected.norm(), name
    for name, buffer in ours.netcnnlip.named_buffers():
        torch.testing.assert_close(
            buffer, dict(published.netcnnlip.named_buffers())[name], rtol=1e-3, atol=1e-3
        )


def test_audio_is_embedded_as_published() -> None:
    network = SyncNet.of_width(NARROW).eval()
    mfcc = torch.randn(4, 13, 20)
    with torch.no_grad():
        torch.testing.assert_close(
            embed_audio(network, mfcc), network.forward_audio(mfcc[:, None]), rtol=1e-4, atol=1e-5
        )


def test_the_towers_compile_in_one_piece() -> None:
    network = SyncNet.of_width(NARROW)
    windows = video_windows(torch.zeros(2, 6, 224, 224, 3, dtype=torch.uint8))
    mfcc = torch.randn(3, 13, 20)
    for embed, batch in ((embed_video, windows), (embed_audio, mfcc)):
        # fullgraph: an error where Python breaks the graph; what backend compiles it is no matter.
        compiled = torch.compile(embed, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(network, batch), embed(network, batch))


# Objective


def test_distances_are_euclidean_and_differentiable_at_zero() -> None:
    left = torch.randn(2, 4, 16, requires_grad=True)
    right = torch.randn(2, 5, 16)
    torch.testing.assert_close(
        pairwise_distances(left, right), torch.cdist(left, right), rtol=1e-4, atol=1e-4
    )
    pairwise_distances(left, left.detach()).sum().backward()
    assert left.grad is not None
    assert left.grad.isfinite().all()


def test_the_objective_rewards_sync_and_nothing_else() -> None:
    torch.manual_seed(1)
    audio = torch.randn(3, 8, 32) * 4
    targets = torch.tensor([[1, 3, 5], [0, 2, 4], [3, 5, 7]])
    video = audio.gather(1, targets[..., None].expand(-1, -1, 32))
    scale = torch.tensor(0.0)
    right = sync_loss(video, audio, targets, scale, across_weight=0.5)
    late = sync_loss(video, audio, (targets + 1) % 8, scale, across_weight=0.5)
    assert right.accuracy == 1
    assert right.total < 0.01
    assert late.accuracy == 0
    assert late.total > 10


def test_other_clips_count_only_with_their_weight() -> None:
    audio = torch.zeros(2, 4, 8)  # all the same in a clip: 4 choices there, 8 in the batch
    video = torch.zeros(2, 2, 8)
    targets = torch.tensor([[0, 1], [2, 3]])
    scale = torch.tensor(0.0)
    alone = sync_loss(video, audio, targets, scale, across_weight=0.0).total
    both = sync_loss(video, audio, targets, scale, across_weight=1.0).total
    assert alone == pytest.approx(np.log(4) + np.log(2), abs=1e-5)
    assert both - alone == pytest.approx(np.log(8), abs=1e-5)


def test_the_jaw_is_scored_in_variances_where_it_is_known() -> None:
    jaw = torch.tensor([[1.0, 3.0], [torch.nan, torch.nan]])
    assert jaw_loss(torch.zeros(2, 2), jaw) == pytest.approx(1, abs=1e-5)
    assert jaw_loss(torch.tensor([[-1.0, 1.0], [9.0, 9.0]]), jaw) == pytest.approx(0, abs=1e-5)
    assert jaw_loss(torch.ones(2, 2), torch.full((2, 2), torch.nan)) == 0


def test_the_learning_rate_goes_up_and_down_once() -> None:
    rates = [one_cycle(step, 100, 1.0) for step in range(100)]
    top = int(np.argmax(rates))
    assert rates[top] == pytest.approx(1)
    assert 0 < top < 20
    assert all(np.diff(rates[: top + 1]) > 0)
    assert all(np.diff(rates[top:]) < 0)
    assert rates[-1] < 0.01


# Finishing


def test_finishing_scales_distances_and_makes_missing_audio_neutral() -> None:
    torch.manual_seed(2)
    network = SyncNet.of_width(NARROW).eval()
    frames = torch.randint(0, 256, (1, 12, 224, 224, 3), dtype=torch.uint8)
    mfcc = torch.randn(8, 13, 20) * 10
    with torch.no_grad():
        video, audio = embed_video(network, video_windows(frames)), embed_audio(network, mfcc)
        finished = SyncNet.from_state_dict(finish(network, np.log(3.0), video, audio))
        new_video = embed_video(finished, video_windows(frames))
        new_audio = embed_audio(finished, mfcc)
    old, new = torch.cdist(video, audio), torch.cdist(new_video, new_audio)
    torch.testing.assert_close(new, 2 * 3 * old, rtol=1e-3, atol=1e-3)
    wrong = (new.sum() - new.diagonal().sum()) / 56
    torch.testing.assert_close(new_video.norm(dim=1).mean(), wrong, rtol=0.02, atol=0)


# Batches


def test_a_batch_holds_what_is_in_sync(data: Path) -> None:
    clips = open_clips(data)
    batch = Batches(clips, SHAPE, seed=3, augment=False)[1]
    assert batch.frames.shape == (2, SHAPE.frames, 224, 224, 3)
    assert batch.mfcc.shape == (2, SHAPE.audio_windows, 13, 20)
    for frames, mfcc, targets, jaw in zip(*batch[:4], strict=True):
        found = [
            (clip, first)
            for clip in clips
            for first in range(clip.frames - SHAPE.frames + 1)
            if np.array_equal(clip.read_frames(first, 1)[0], frames[0].numpy())
        ]
        assert len(found) == 1
        clip, first = found[0]
        assert np.array_equal(clip.read_frames(first, SHAPE.frames), frames.numpy())
        for window, target in enumerate(targets.tolist()):
            start = first + window * SHAPE.stride
            expected = audio_windows(clip.read_samples(), start, 1)[0]
            np.testing.assert_allclose(mfcc[target].numpy(), expected, atol=1e-4)
            np.testing.assert_array_equal(jaw[target], clip.read_jaw()[start : start + 5])


def test_batches_depend_on_seed_and_step_alone(data: Path) -> None:
    clips = open_clips(data)
    one, again, other = (Batches(clips, SHAPE, seed=seed)[4] for seed in (1, 1, 2))
    assert torch.equal(one.frames, again.frames)
    assert torch.equal(one.mfcc, again.mfcc)
    assert not torch.equal(one.mfcc, other.mfcc)


def test_loader_processes_give_the_same_batches(data: Path) -> None:
    batches = Batches(open_clips(data), SHAPE, seed=1)
    for step, batch in zip(range(2, 4), batch_loader(batches, range(2, 4), workers=1), strict=True):
        for made, expected in zip(batch[:-1], batches[step][:-1], strict=True):
            torch.testing.assert_close(made, expected, rtol=0, atol=0)


def test_every_clip_comes_once_before_any_comes_twice(data: Path) -> None:
    batches = Batches(open_clips(data), BatchShape(1, 2, 1, 0), seed=0, augment=False)
    seen = [batches[step].mfcc[0, 0, 0, 0].item() for step in range(5)]
    jaws = {tuple(batches[step].jaw[0, 0].tolist()) for step in range(5)}
    assert len(seen) == len(jaws) == 5


def test_an_unknown_jaw_is_nan(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip", 0, jaw=False)
    batch = Batches(open_clips(tmp_path), BatchShape(1, 2, 1, 0), seed=0)[0]
    assert batch.jaw.isnan().all()


def test_unusable_clips_are_named(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no clips"):
        open_clips(tmp_path)
    with pytest.raises(DatasetError, match="a step takes 99 clips, there are 5"):
        Batches(open_clips(data), BatchShape(99, 2, 1, 0), seed=0)
    with pytest.raises(DatasetError, match="20 frames give 15 windows"):
        Batches(open_clips(data), BatchShape(1, 12), seed=0)
    write_clip(tmp_path / "clip", 0)
    (clip,) = open_clips(tmp_path)
    with pytest.raises(DatasetError, match=r"video\.yuv: ends before frame 21"):
        clip.read_frames(18, 3)
    with pytest.raises(DatasetError, match=r"audio\.wav"):
        Clip(clip.path, FRAMES + 1).read_samples()
    (tmp_path / "clip" / "clip.json").write_text("{")
    with pytest.raises(DatasetError, match=r"clip\.json"):
        clip.read_jaw()


def test_a_stored_clip_is_what_was_written(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 224).astype(np.uint8)
    frames = np.stack([np.broadcast_to(ramp[:, None, None], (224, 224, 3))] * 3).copy()
    frames[1, :, :, 0] = 255 - frames[1, :, :, 0]  # red
    samples = np.arange(3 * 640).astype(np.int16)
    storage.write_clip(tmp_path / "clip", frames, samples, {"jaw": [0.1, 0.2, 0.3], "seed": 5})
    (clip,) = open_clips(tmp_path)
    assert clip == Clip(tmp_path / "clip", 3)
    # YUV in the range of video has 219 steps for 255 levels.
    np.testing.assert_allclose(
        clip.read_frames(1, 2)[..., ::-1].astype(int), frames[1:].astype(int), atol=5
    )
    np.testing.assert_array_equal(clip.read_samples(), samples)
    np.testing.assert_allclose(clip.read_jaw(), [0.1, 0.2, 0.3], rtol=1e-6)
    assert storage.read_about(clip.path)["seed"] == 5
    # Without its description a clip is not complete.
    (tmp_path / "clip" / "clip.json").unlink()
    assert not storage.is_complete(clip.path)
    with pytest.raises(DatasetError, match="no clips"):
        open_clips(tmp_path)


# Augmentation


@pytest.mark.parametrize("seed", range(6))
def test_augmented_frames_keep_their_time(seed: int) -> None:
    planes = np.random.default_rng(seed).integers(16, 236, (4, 336, 224), dtype=np.uint8)
    other = planes.copy()
    other[2] = 251 - other[2]
    before = planes.copy()
    one = augment_video(planes, np.random.default_rng(seed))
    two = augment_video(other, np.random.default_rng(seed))
    assert one.shape == (4, 224, 224, 3)
    assert one.dtype == np.uint8
    assert [bool((a != b).any()) for a, b in zip(one, two, strict=True)] == [0, 0, 1, 0]
    np.testing.assert_array_equal(planes, before)
    plain = to_bgr(planes[0], out=np.empty((224, 224, 3), np.uint8))
    assert (one[0] != plain).any()


@pytest.mark.parametrize("seed", range(12))
def test_augmented_audio_keeps_its_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    envelope = np.repeat(rng.random(50) ** 3, 640)
    voice = (envelope * rng.normal(0, 4000, len(envelope))).astype(np.int16)
    background = rng.integers(-500, 500, 9000).astype(np.int16)
    changed = augment_audio(voice, background, rng)
    assert changed.shape == voice.shape
    assert changed.dtype == np.int16

    def loudness(samples: np.ndarray) -> np.ndarray:
        return np.log(1 + np.abs(samples.astype(float)).reshape(-1, 160).mean(1))

    before, after = loudness(voice), loudness(changed)
    lags = range(-12, 13)  # hundredths of a second
    similarity = [np.corrcoef(np.roll(before, lag)[20:-20], after[20:-20])[0, 1] for lag in lags]
    # An echo may pull the loudness late by a little; a frame is four hundredths.
    assert abs(lags[int(np.argmax(similarity))]) <= 1


# Runs


def config(steps: int) -> FitConfig:
    return FitConfig(steps=steps, width=NARROW, shape=SHAPE, held_out=1)


def run(data: Path, folder: Path, steps: int, **options: object) -> dict[str, torch.Tensor]:
    weights = fit(
        open_clips(data),
        folder,
        config(steps),
        device=CPU,
        precision=torch.float32,
        workers=0,
        report_steps=2,
        **options,  # type: ignore[arg-type]
    )
    return load_checkpoint(weights).state_dict


def test_a_resumed_run_ends_as_an_uninterrupted_one(data: Path, tmp_path: Path) -> None:
    whole = run(data, tmp_path / "whole", 4)

    def interrupt(report: Report) -> None:
        if report.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "parts", 4, progress=interrupt)
    parts = run(data, tmp_path / "parts", 4, resume=True)
    for key, tensor in whole.items():
        torch.testing.assert_close(parts[key], tensor, rtol=1e-4, atol=1e-5, msg=key)
    log = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [2, 4]
    assert not list((tmp_path / "parts").glob("*.partial"))


def test_a_run_is_neither_overwritten_nor_confused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        run(data, tmp_path, 2, resume=True)
    run(data, tmp_path, 2)
    with pytest.raises(CheckpointError, match="--resume goes on with it"):
        run(data, tmp_path, 2)
    with pytest.raises(CheckpointError, match="2 steps are done, asked for 1"):
        run(data, tmp_path, 1, resume=True)
    wider = FitConfig(steps=4, width=0.2, shape=SHAPE, held_out=1)
    with pytest.raises(CheckpointError, match="another width"):
        fit(
            open_clips(data),
            tmp_path,
            wider,
            device=CPU,
            precision=torch.float32,
            workers=0,
            resume=True,
        )


def test_steps_bring_the_loss_of_a_batch_down(data: Path) -> None:
    torch.manual_seed(0)
    batch = Batches(open_clips(data), SHAPE, seed=0, augment=False)[0]
    step = TrainingStep(SyncNet.of_width(NARROW), StepConfig(), CPU, torch.float32)
    losses = [float(step(batch, SHAPE.stride, 3e-3).total.detach()) for _ in range(12)]
    assert losses[-1] < 0.7 * losses[0]


def test_a_run_that_has_its_steps_writes_its_weights_again(data: Path, tmp_path: Path) -> None:
    before = run(data, tmp_path, 2)
    (tmp_path / "weights.safetensors").unlink()
    after = run(data, tmp_path, 2, resume=True)
    for key, tensor in before.items():
        torch.testing.assert_close(after[key], tensor, msg=key)


def test_the_published_weights_are_an_average_over_steps(data: Path) -> None:
    torch.manual_seed(0)
    batch = Batches(open_clips(data), SHAPE, seed=0, augment=False)[0]
    step = TrainingStep(SyncNet.of_width(NARROW), StepConfig(average_decay=0.2), CPU, torch.float32)
    name = "netfclip.3.weight"
    expected = None
    # The first step begins the average; it grows longer until the decay that was asked for.
    for decay in (0, 2 / 11, 0.2):
        step(batch, SHAPE.stride, 3e-3)
        weights = step.network.state_dict()[name].clone()
        expected = weights if expected is None else decay * expected + (1 - decay) * weights
    torch.testing.assert_close(step.average.module.state_dict()[name], expected)
    statistics = "netcnnlip.1.running_mean"
    assert not torch.equal(
        step.average.module.state_dict()[statistics], step.network.state_dict()[statistics]
    )


@pytest.mark.parametrize("frozen", PARTS)
def test_a_frozen_part_stays_as_it_is(data: Path, frozen: str) -> None:
    torch.manual_seed(0)
    batch = Batches(open_clips(data), SHAPE, seed=0, augment=False)[0]
    network = SyncNet.of_width(NARROW)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    step = TrainingStep(network, StepConfig(frozen=frozen), CPU, torch.float32)
    step(batch, SHAPE.stride, 3e-3)
    changed = {
        key.rpartition(".")[0]
        for key, tensor in network.state_dict().items()
        if not torch.equal(tensor, before[key])
    }
    layers = {key.rpartition(".")[0] for key in before}
    kept = tuple(f"{part}." for part in PARTS[frozen])
    assert layers - changed == {layer for layer in layers if f"{layer}.".startswith(kept)}


def test_clips_to_measure_on_can_be_named(data: Path, tmp_path: Path) -> None:
    clips = open_clips(data)
    with pytest.raises(DatasetError, match=r"1 clips, of which 1 are to be held out"):
        fit(clips[:1], tmp_path, config(1), device=CPU, precision=torch.float32, workers=0)
    weights = fit(
        clips[:2],
        tmp_path,
        config(1),
        device=CPU,
        precision=torch.float32,
        workers=0,
        validation=clips[2:],
    )
    assert weights.is_file()


def test_fine_tuning_keeps_the_distances_of_finished_weights(data: Path, tmp_path: Path) -> None:
    """They have their scale in them: steps that change nothing must not change it either."""
    first = tmp_path / "first"
    run(data, first, 1)
    tuned = fit(
        open_clips(data),
        tmp_path / "tuned",
        replace(
            config(1),
            initial=first / "weights.safetensors",
            step=StepConfig(learning_rate=0.0, frozen="video"),
        ),
        device=CPU,
        precision=torch.float32,
        workers=0,
    )
    frames = torch.from_numpy(open_clips(data)[0].read_frames(0, 12))[None]
    with torch.no_grad():
        before, after = (
            torch.pdist(embed_video(load_checkpoint(path).network(), video_windows(frames)))
            for path in (first / "weights.safetensors", tuned)
        )
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)


def test_weights_can_be_halved(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, 1, half=True)
    assert load_checkpoint(tmp_path / "weights.safetensors").half


# Evaluation


def test_cutting_shifts_the_audio_ahead() -> None:
    frames = np.zeros((20, 224, 224, 3), np.uint8)
    samples = np.repeat(np.arange(20, dtype=np.int16), 640)
    cut = EvaluationClip("clip", frames, samples).cut(4, 3)
    assert len(cut.frames) == 12
    assert cut.samples[::640].tolist() == list(range(7, 19))


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings that know the time: the number in a frame's pixels, and in the samples."""

    def embed(_: SyncNet, clip: EvaluationClip) -> tuple[np.ndarray, np.ndarray]:
        count = len(clip.frames) - 4
        times = clip.frames[:count, 0, 0, 0], clip.samples[: 640 * count : 640]
        codes = np.random.default_rng(0).normal(0, 1, (256, 32)).astype(np.float32)
        video, audio = (codes[np.asarray(time, int)] for time in times)
        return video, audio

    monkeypatch.setattr(evaluate, "_embed", embed)


def timed_clip(name: str, first: int) -> EvaluationClip:
    times = np.arange(first, first + 60)
    frames = np.zeros((60, 8, 8, 3), np.uint8) + times[:, None, None, None].astype(np.uint8)
    return EvaluationClip(name, frames, np.repeat(times.astype(np.int16), 640))


@pytest.mark.usefixtures("oracle")
def test_evaluation_finds_what_it_imposed() -> None:
    network = SyncNet.of_width(NARROW)
    clips = [timed_clip("a", 0), timed_clip("b", 90), timed_clip("c", 180)]
    report = evaluate_in_sync(network, clips, seed=5)
    assert report.exact == report.within_one == 3
    assert [clip.offset for clip in report.clips] == [clip.shift for clip in report.clips]
    assert abs(report.estimate_bias) < 0.2
    assert report.separation == Separation(6, 1.0, {"1%": 1.0, "2%": 1.0, "5%": 1.0})
    alone = evaluate_real(network, clips[:1])
    assert alone.clips[0].offsets == list(range(-5, 6))
    assert alone.clips[0].follows
    assert alone.separation is None
    assert evaluate_real(network, clips).separation == report.separation


def test_separation_counts_what_a_threshold_lets_in() -> None:
    wrong = np.arange(100.0)
    own = np.array([98.5, 97.0, 94.5, 10.0])
    found = Separation.of(own, wrong)
    # One wrong pair of 100 may be accepted: then 99 is, and all above 98 are.
    assert found.accepted == {"1%": 0.25, "2%": 0.25, "5%": 0.75}
    assert found.area == pytest.approx((99 + 97.5 + 95 + 10.5) / 400)
    assert Separation.of(own, own[:1]).accepted == {"1%": 0.0, "2%": 0.0, "5%": 0.0}


@pytest.mark.usefixtures("oracle")
def test_an_answer_that_stays_put_does_not_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = EvaluationClip.cut
    monkeypatch.setattr(EvaluationClip, "cut", lambda clip, margin, _: whole(clip, margin, 0))
    (followed,) = evaluate_real(SyncNet.of_width(NARROW), [timed_clip("a", 0)]).clips
    assert followed.offsets == [0] * 11
    assert not followed.follows


# Timing and commands


def test_the_timing_table_adds_up(data: Path) -> None:
    report = profile(
        open_clips(data),
        batch=4,
        steps=2,
        width=NARROW,
        workers=0,
        device=CPU,
        precision=torch.float32,
        warm_up=1,
    )
    assert sum(part.mean_ms for part in report.parts) == pytest.approx(report.step.mean_ms, rel=0.2)
    assert sum(part.share for part in report.parts) <= 1
    assert all(0 < part.min_ms <= part.mean_ms <= part.max_ms for part in report.parts)
    wait = next(part for part in report.parts if part.name == "data wait")
    assert sum(part.mean_ms for part in report.loader) <= wait.mean_ms
    assert json.dumps(report.to_dict())
    with pytest.raises(TrainingError, match="--batch must be"):
        profile(
            open_clips(data),
            batch=33,
            steps=1,
            width=NARROW,
            workers=0,
            device=CPU,
            precision=torch.float32,
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "NOWHERE"], "no clips"),
        (["fit", "DATA", "--device", "cuda:99"], "no such GPU"),
        (["evaluate", "NOWHERE"], "no such checkpoint"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    message: str,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"NOWHERE": str(tmp_path / "nowhere"), "DATA": str(data)}
    for name, place in places.items():
        arguments = [word.replace(name, place) for word in arguments]
    monkeypatch.setattr("sys.argv", ["syncnet-train", *arguments])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("bug", [ValueError("a bug"), OSError("a bug without a file")])
def test_a_bug_is_not_hidden_in_a_line(
    bug: Exception, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise bug

    monkeypatch.setattr("syncnet_training.fit.fit", broken)
    monkeypatch.setattr("sys.argv", ["syncnet-train", "fit", str(data), "--run", str(tmp_path)])
    with pytest.raises(type(bug), match="a bug"):
        main()


def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str | Path
) -> str:
    """Run `syncnet-train` and return its stdout; it must succeed."""
    monkeypatch.setattr("sys.argv", ["syncnet-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert not exit_.value.code
    return capsys.readouterr().out


@pytest.mark.usefixtures("oracle")
def test_evaluate_prints_a_table_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.safetensors"
    save_checkpoint(weights, random_checkpoint(width=NARROW))
    clip = timed_clip("clip", 0)
    monkeypatch.setattr("syncnet_training.synthesis.synthesize_clip", lambda *_, **__: clip)
    table = command(capsys, monkeypatch, "evaluate", weights, "--count", "2")
    assert "2 of 2 exact" in table
    report = json.loads(command(capsys, monkeypatch, "evaluate", weights, "--count", "2", "--json"))
    assert [clip["offset"] for clip in report["clips"]] == [
        clip["shift"] for clip in report["clips"]
    ]
    monkeypatch.setattr("syncnet_training.real.read_talking_head", lambda _: clip)
    real = command(capsys, monkeypatch, "evaluate", weights, "--clips", "a.mp4", "--json")
    assert json.loads(real)["clips"][0]["follows"] is True
    assert "1 of 1 clips follow" in command(
        capsys, monkeypatch, "evaluate", weights, "--clips", "a.mp4"
    )
    known = ["--clips", "a.mp4", "--clips", "b.mp4", "--in-sync"]
    assert "2 of 2 exact" in command(capsys, monkeypatch, "evaluate", weights, *known)


def test_profile_prints_json(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--batch", "4", "--steps", "1", "--width", str(NARROW), "--workers", "0", "--json"]
    report = json.loads(command(capsys, monkeypatch, "profile", "--data", data, *options))
    assert report["batch"] == 4
    assert [part["name"] for part in report["loader"]] == [
        "frame load",
        "audio load",
        "preprocessing",
    ]
