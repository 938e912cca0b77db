"""The audit's seal: chains digests of history and journal in feed order, after the commit, and verifies the chain."""
