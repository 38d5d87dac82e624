"""``python -m syncnet_client`` is the same as ``syncnet-client``."""

import sys

from syncnet_client.cli import main

sys.exit(main())
