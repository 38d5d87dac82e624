"""Synthetic talking heads with exactly known synchronisation.

`synthesize_clip(seed, frames)` makes one in memory, `write_clips` a set on disk. One articulation
track (jaw, lips, tongue) drives both the voice and the face, so what is seen and what is heard
agree to the millisecond.
"""

from syncnet_training.synthesis.clip import SyntheticClip, synthesize_clip
from syncnet_training.synthesis.contact_sheet import write_contact_sheet
from syncnet_training.synthesis.recordings import Recordings
from syncnet_training.synthesis.writer import clip_seed, write_clips, write_folder, write_mp4

__all__ = [
    "Recordings",
    "SyntheticClip",
    "clip_seed",
    "synthesize_clip",
    "write_clips",
    "write_contact_sheet",
    "write_folder",
    "write_mp4",
]
