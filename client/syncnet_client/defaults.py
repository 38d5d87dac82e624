"""What options are when nobody sets them. Imports little, so that the command line starts at once.

The constants of the network are in ``contract``.
"""

import os

DEFAULT_URL = "127.0.0.1:8001"
DEFAULT_IN_FLIGHT = 2  # while one chunk is computed, the next one is on its way

# Long enough for a server to restart with large models.
DEFAULT_PATIENCE_S = 120.0
DEFAULT_TIMEOUT_S = 120.0

# Without data for so long, a URL, pipe or growing file counts as ended.
DEFAULT_SOURCE_TIMEOUT_S = 10.0

# Offsets of 10 s, 250 video windows, are reliable one by one; a drift of one frame a minute shows.
DEFAULT_WINDOW_S = 10.0

# With the published weights, people who speak in sync score 3 to 10, voices that belong to
# somebody else and faces that do not speak around 1 and rarely 2.
DEFAULT_MIN_CONFIDENCE = 2.0

# Decoding and finding faces need about a core per clip; the server is busy with 4 at a time.
DEFAULT_JOBS = min(4, os.cpu_count() or 1)
