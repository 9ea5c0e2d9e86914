"""Between a plan and the network: limits, risk, approvals, stops and rollback."""
