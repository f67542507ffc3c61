"""A merchant's mix of buyer types: counted per window, decayed, announced."""
