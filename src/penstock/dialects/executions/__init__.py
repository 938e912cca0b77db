"""The door `executions`: workflows as graphs of tasks, started by one call, seen as a queue of open work."""
