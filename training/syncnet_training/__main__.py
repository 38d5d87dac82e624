"""``python -m syncnet_training`` is the same as ``syncnet-train``."""

from syncnet_programs.starting import starting

with starting("syncnet-train"):
    from syncnet_training.cli import main

if __name__ == "__main__":
    main()
