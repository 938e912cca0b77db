"""Vendors' APIs as doors: one folder each, with the drawers routes, mapping and models. No dialect knows another."""
