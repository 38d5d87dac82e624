"""Run the SyncNet model repository on a real tritonserver."""
