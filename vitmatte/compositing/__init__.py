"""Foreground colours, cut-outs, new backgrounds, overlays."""
