"""The live path: pure cores (sessions, distribution, drift) and a thin Faust shell around them."""
