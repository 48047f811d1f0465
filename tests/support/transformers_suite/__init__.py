"""transformers' own tests of ViTMatte and ViTDet, run on this library; see docs/transformers-suite.md."""
