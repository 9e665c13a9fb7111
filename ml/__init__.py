"""Numbers in, numbers out: privacy and cryptographic cores that know nothing of the market."""
