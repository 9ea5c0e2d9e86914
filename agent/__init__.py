"""Digest to policy to action."""
