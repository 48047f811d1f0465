"""Clips: one frame in, one matte out, in memory that does not grow with the clip."""
