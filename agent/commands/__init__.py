"""The agent's sub-commands; each module imports heavy libraries only when its command runs."""
