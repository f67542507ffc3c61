"""Storefront changes tried on simulated buyers."""
