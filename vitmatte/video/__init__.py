"""Clips: motion between frames, mattes that hold still over time, and masks carried on by motion."""
