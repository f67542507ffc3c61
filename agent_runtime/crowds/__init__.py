"""Crowds at work: single runs, living populations, and their clicks on the way into the stream."""
