"""Benchmarks: each prints machine, versions, figures and ratios as JSON."""
