"""The loop on recorded telemetry: decisions beside a peer's, what-if figures, and drift against recorded decisions."""
