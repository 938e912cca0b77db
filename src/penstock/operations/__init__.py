"""What the platform can do: one function a verb. Every door calls these and nothing deeper."""
