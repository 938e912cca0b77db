"""Penstock: one durable engine for people, code, robots and devices."""

__version__ = "0.1.0"
