"""ComfyUI's side of the pack: thin nodes, one file for its memory management, one for its folders."""
