"""The door `cloudio`: key/value and counters for running jobs, whose token is the only credential; and a log-in."""
