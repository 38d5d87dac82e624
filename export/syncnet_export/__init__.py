"""Turn a SyncNet checkpoint into the towers that Triton serves."""
