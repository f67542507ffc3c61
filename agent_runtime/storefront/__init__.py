"""A storefront as shoppers meet it: what it offers, what can be done next, and the click that comes of it."""
