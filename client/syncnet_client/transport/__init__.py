"""The way to a Triton server: requests, streams, new attempts after failures."""
