"""The constants of SyncNet that the client, the export and the training share.

They follow from the published network (Chung & Zisserman, 2016): video at 25 frames a second,
audio at 16 kHz, windows of 5 frames and of 20 MFCC frames 10 ms apart.
"""

FRAMES_PER_SECOND = 25
SAMPLE_RATE = 16_000  # Hz
SAMPLES_PER_FRAME = SAMPLE_RATE // FRAMES_PER_SECOND  # 640
FRAME_SIZE = 224  # pixels, both sides

WINDOW_FRAMES = 5  # video frames in a window
MFCC_HOP_SAMPLES = SAMPLE_RATE // 100  # 10 ms
MFCC_FRAME_SAMPLES = SAMPLE_RATE // 40  # 25 ms
MFCC_PER_FRAME = SAMPLES_PER_FRAME // MFCC_HOP_SAMPLES  # 4
MFCC_FRAMES = WINDOW_FRAMES * MFCC_PER_FRAME  # 20 in a window
MFCC_COEFFICIENTS = 13
WINDOW_SAMPLES = (MFCC_FRAMES - 1) * MFCC_HOP_SAMPLES + MFCC_FRAME_SAMPLES  # 3440

EMBEDDING_SIZE = 1024

DEFAULT_VSHIFT = 10  # frames searched to each side
MAX_VSHIFT = 10 * FRAMES_PER_SECOND  # 10 s: speech further away belongs to another sentence
DEFAULT_CHUNK = 120  # video windows in one request
MIN_FRAMES = WINDOW_FRAMES + 1  # the published pipeline scores min_length - 5 windows
