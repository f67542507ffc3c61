"""Real sessions as actions: to learn from, and to be judged by."""
