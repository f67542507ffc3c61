"""The web pages: the live dashboard, the gateway that takes clicks over HTTP, and the demo storefront."""
