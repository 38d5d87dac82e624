"""Files with one record for each attempt at a clip."""
