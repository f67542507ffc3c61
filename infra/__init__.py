"""What runs it all: the embedded stack, the command line, web pages and deployment files."""
