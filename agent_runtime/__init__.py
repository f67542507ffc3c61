"""Simulated buyers: persona tokens, fine-tuning, population sampling, storefronts and simulators."""
