"""Composites made on the fly: pictures <- geometry, blur, colour, hair, translucent <- composites <- stream."""
