"""Trained simulators as folders, and how they are trained and adapted."""
