"""Has a merchant's mix of buyer types changed? Pure."""
