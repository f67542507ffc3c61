"""The two hops of a click: clicks become sessions, sessions become mixes; and what drives a hop."""
