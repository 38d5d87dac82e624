"""``python -m syncnet_export`` is the same as ``syncnet-export``."""

from syncnet_programs.starting import starting

with starting("syncnet-export"):
    from syncnet_export.cli import main

if __name__ == "__main__":
    main()
