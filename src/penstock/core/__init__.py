"""The pure core. Import from its modules; nothing is re-exported here."""
