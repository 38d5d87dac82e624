"""The commands of `syncnet-train`, a module each."""
