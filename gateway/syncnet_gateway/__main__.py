"""``python -m syncnet_gateway`` is ``syncnet-gateway``."""

import sys

from syncnet_gateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
