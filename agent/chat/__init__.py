"""The chat: a LangChain agent over a control room, its sessions, and its terminal."""
