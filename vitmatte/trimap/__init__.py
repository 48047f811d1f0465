"""Trimaps from masks: distances, connected areas, strands."""
