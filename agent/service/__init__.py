"""The agent as a service: sources, answers, canaries, policy, and what systemd wants to hear."""
