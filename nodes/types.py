"""The wire types of the pack."""

from __future__ import annotations

from comfy_api.latest import io

ViTMatteModel = io.Custom("VITMATTE_MODEL")
