"""Encoders on their way to the workers and into the store."""
