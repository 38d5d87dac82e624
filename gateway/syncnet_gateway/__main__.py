"""``python -m syncnet_gateway`` is the same as ``syncnet-gateway``."""

import sys

from syncnet_programs.starting import starting

with starting("syncnet-gateway"):
    from syncnet_gateway.cli import main

if __name__ == "__main__":
    sys.exit(main())
