"""What a run leaves behind: tables, plots, policies and the decision log."""
