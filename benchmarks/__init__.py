"""Speed and memory, measured against transformers and part by part: `python -m benchmarks` (make bench)."""
