"""The values of options that are not given, and the limits of those that are.

This module imports little, so that the command line starts at once. The constants of the network
are in ``contract``.
"""

import os

from syncnet_client.contract import FRAMES_PER_SECOND

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_IN_FLIGHT = 2  # while one chunk is computed, the next one is on its way

# Long enough for a server to restart with large models.
DEFAULT_RETRY_TIMEOUT_S = 120.0
DEFAULT_TIMEOUT_S = 120.0

DEFAULT_VSHIFT = 10  # frames searched to each side
MAX_VSHIFT = 10 * FRAMES_PER_SECOND  # 10 s: speech further away belongs to another sentence
WIDE_VSHIFT = 50  # 2 s, where a first search has found nothing
DEFAULT_CHUNK = 120  # video windows in one request
# 600 windows are 24 s of video and 91 MB of frames: far beyond where larger chunks are faster,
# well below the 2 GiB that a gRPC message may have.
MAX_CHUNK = 600

# Means over fewer windows are carried by single sounds: the published accuracy for one window of
# 5 frames is 76 %, for 15 frames 96 % (Chung, Chung & Kang, 2019).
MIN_SCORED_WINDOWS = FRAMES_PER_SECOND  # 1 s

# Without data for so long, a URL, pipe or growing file counts as ended.
DEFAULT_SOURCE_TIMEOUT_S = 10.0

# Of a source that names no end, this much is one clip; `watch` goes on for ever.
DEFAULT_MAX_DURATION_S = 3600.0

# Offsets of 10 s, 250 video windows, are reliable one by one; a drift of one frame a minute shows.
DEFAULT_SEGMENT_S = 10.0
DEFAULT_LOOKBACK_S = 10.0
DEFAULT_EVERY_S = 1.0

# The same offset comes out of 9 draws of 10; docs/trust.md says what that is worth.
DEFAULT_MIN_AGREEMENT = 0.9
# Off: a confidence is never below 0, and what is high depends on the weights.
DEFAULT_MIN_CONFIDENCE = 0.0

# Decoding and finding faces need about a core per clip, and each has a process of its own.
DEFAULT_JOBS = os.cpu_count() or 1
DEFAULT_CLIP_MEMORY_MB = 2048
MIN_CLIP_MEMORY_MB = 512
