"""Measure audio-visual sync of talking-head clips with SyncNet on a Triton server."""
