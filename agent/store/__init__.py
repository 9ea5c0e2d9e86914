"""What outlives a process: policies, approvals, decisions, goals, sessions and the audit trail."""
