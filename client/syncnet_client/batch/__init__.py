"""Many clips: which ones, and in which threads or on which machines they are scored."""
