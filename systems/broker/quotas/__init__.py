"""What a client may take of a broker, and how it is slowed down where it takes more (KIP-13, KIP-124, KIP-219)."""
