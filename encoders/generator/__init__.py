"""A world of shops and shoppers with planted buyer types: synthetic traffic whose truth is known."""
