"""The interface that Hugging Face documents for ViTMatte."""
