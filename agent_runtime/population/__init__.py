"""Who walks in: mixes of buyer types and the shoppers drawn from them."""
