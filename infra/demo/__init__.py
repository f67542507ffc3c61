"""The demo: the commands a user would type, run one after another over the embedded stack, and what came of them."""
