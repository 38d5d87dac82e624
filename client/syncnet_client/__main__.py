"""``python -m syncnet_client`` is the same as ``syncnet-client``."""

import sys

from syncnet_programs.starting import starting

with starting("syncnet-client"):
    from syncnet_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
