"""The programs we are measured beside: each a module run as ``python -m bench.peers.NAME``, each written as its own
documentation recommends, each printing one JSON line."""
