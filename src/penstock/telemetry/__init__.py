"""What an operator sees of the running program: figures, ids in log lines, spans. Knows nothing of processes or doors.

Low in the house so that every room may tell; only this room speaks to prometheus-client and OpenTelemetry, and imports either
when somebody asks for it. `activity`: on whose behalf code runs. `figures`: what is counted on the way. `catalogue`: every
metric by name. `exposition`: how they are written out. `traceparent`, `tracing`: spans.
"""
