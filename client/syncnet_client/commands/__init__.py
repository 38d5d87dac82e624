"""The subcommands of ``syncnet-client``, a module each, and what they have in common."""
