"""The command line ``simpersona``: one module per command."""
