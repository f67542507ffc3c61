"""Do simulated buyers behave like real ones? Measures, conditions and yardsticks."""
