"""Language models that read sessions as text."""
