"""A crowd walked through a storefront, compiled."""
