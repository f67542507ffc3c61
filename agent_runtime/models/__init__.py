"""What decides for shoppers: language models, a Markov chain, replay, an endpoint."""
