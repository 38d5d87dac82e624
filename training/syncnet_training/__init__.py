"""Synthetic talking heads with exactly known sync, and a SyncNet trainer."""
