"""``python -m syncnet_server`` is the same as ``syncnet-server``."""

from syncnet_programs.starting import starting

with starting("syncnet-server"):
    from syncnet_server.cli import main

if __name__ == "__main__":
    main()
