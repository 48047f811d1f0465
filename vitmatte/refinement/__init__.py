"""A matte brought into line with the picture's colours. Closed-form matting with the net's alpha as its data."""
