"""Find and buy: goal-oriented tasks."""
