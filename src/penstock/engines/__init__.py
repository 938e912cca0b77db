"""Engines carry out what the decider decides. Embedded: in the open transaction, in this very process."""
