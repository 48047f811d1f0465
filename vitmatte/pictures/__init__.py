"""Picture files: what is read and what it stands for, what is written, and which files belong together."""
