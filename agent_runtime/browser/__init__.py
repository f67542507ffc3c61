"""Simulated shoppers on real web pages: Chromium through Playwright, read by its accessibility tree."""
