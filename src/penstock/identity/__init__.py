"""Pure: who acts, and what they may do. Re-exports nothing."""
