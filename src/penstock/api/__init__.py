"""The native door `/api/v1`: its table of routes, its models, and the mapping between them and operations."""
