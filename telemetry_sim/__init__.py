"""The network: what it reports and what it obeys."""
