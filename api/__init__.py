"""The REST face of the agent."""
