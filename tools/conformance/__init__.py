"""What tools.conform compares: the other side's answers, and ours under other readings."""
