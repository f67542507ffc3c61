"""The embedded stack: a broker, a store and the one parent process that starts, watches and stops them."""
