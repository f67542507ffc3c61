"""Raw click logs to canonical events: one module per format, and the import that runs them."""
