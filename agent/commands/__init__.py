"""The sub-commands of `edgewright` that the agent owns."""
