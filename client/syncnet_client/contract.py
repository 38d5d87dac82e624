"""The tensor contract: what a chunk holds, and the names of the models and tensors that answer it.

The sizes follow from the published network (Chung & Zisserman, 2016): video at 25 frames a second,
audio at 16 kHz, windows of 5 frames and of 20 MFCC frames 10 ms apart. The client, the export and
the training share them; how much is searched and sent at once is in ``defaults``.
"""

from dataclasses import dataclass

FRAMES_PER_SECOND = 25
FRAME_MS = 1000 // FRAMES_PER_SECOND  # 40
SAMPLE_RATE = 16_000  # Hz
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAMES_PER_SECOND  # 640
FRAME_SIZE = 224  # pixels, both sides

WINDOW_FRAMES = 5  # video frames in a window
MIN_FRAMES = WINDOW_FRAMES + 1  # the published pipeline scores min_length - 5 windows
MFCC_HOP_SAMPLES = SAMPLE_RATE // 100  # 10 ms
MFCC_FRAME_SAMPLES = SAMPLE_RATE // 40  # 25 ms
MFCC_PER_FRAME = SAMPLES_PER_FRAME // MFCC_HOP_SAMPLES  # 4
MFCC_FRAMES = WINDOW_FRAMES * MFCC_PER_FRAME  # 20 in a window
MFCC_COEFFICIENTS = 13
WINDOW_SAMPLES = (MFCC_FRAMES - 1) * MFCC_HOP_SAMPLES + MFCC_FRAME_SAMPLES  # 3440

EMBEDDING_SIZE = 1024


@dataclass(frozen=True)
class Family:
    """Models of one kind: what they are called in Triton, and what they take.

    The client asks for nothing by a name of its own. A second kind of sync network that is served
    behind an ensemble with the same meaning of its tensors needs one more of these.

    Attributes:
        title: the name for people.
        ensemble: the model that takes chunks and gives distances.
        metrics: the model that scores rows of distances.
        video_tower, audio_tower: the models with the weights.
        frames, audio, audio_padding: the ensemble's inputs.
        mfcc: the audio tower's input.
        video_embeddings, audio_embeddings: the towers' outputs.
        distances: the ensemble's output, and the input of `metrics`.
        offset, confidence, min_distance, frame_confidence: outputs of `metrics`.
        tracks: input of `metrics`, the face that each row is of.
        agreement, offset_interval, mean_distances, track_weights: outputs of `metrics` about
            tracks and clips.
        segment_start, segment_offset, segment_confidence, segment_agreement: outputs of `metrics`
            where a request asks about the segments of a track, too.
        frames_per_second: of the video.
        sample_rate: of the audio, in Hz.
        frame_size: both sides of a frame in pixels.
        window_frames: video frames in a window.
    """

    title: str
    ensemble: str
    metrics: str
    video_tower: str
    audio_tower: str
    frames: str = "FRAMES"
    audio: str = "AUDIO"
    audio_padding: str = "AUDIO_PADDING"
    mfcc: str = "MFCC"
    video_embeddings: str = "VIDEO_EMBEDDINGS"
    audio_embeddings: str = "AUDIO_EMBEDDINGS"
    distances: str = "DISTANCES"
    offset: str = "OFFSET"
    confidence: str = "CONFIDENCE"
    min_distance: str = "MIN_DISTANCE"
    frame_confidence: str = "FRAME_CONFIDENCE"
    tracks: str = "TRACKS"
    agreement: str = "AGREEMENT"
    offset_interval: str = "OFFSET_INTERVAL"
    mean_distances: str = "MEAN_DISTANCES"
    track_weights: str = "TRACK_WEIGHTS"
    segment_start: str = "SEGMENT_START"
    segment_offset: str = "SEGMENT_OFFSET"
    segment_confidence: str = "SEGMENT_CONFIDENCE"
    segment_agreement: str = "SEGMENT_AGREEMENT"
    frames_per_second: int = FRAMES_PER_SECOND
    sample_rate: int = SAMPLE_RATE
    frame_size: int = FRAME_SIZE
    window_frames: int = WINDOW_FRAMES

    @property
    def required_models(self) -> tuple[str, ...]:
        """The models that a client asks."""
        return self.ensemble, self.metrics

    @property
    def towers(self) -> tuple[str, ...]:
        """The models with weights; their versions are versions of the weights."""
        return self.video_tower, self.audio_tower


SYNCNET = Family(
    title="SyncNet",
    ensemble="syncnet",
    metrics="sync_metrics",
    video_tower="video_tower",
    audio_tower="audio_tower",
)
