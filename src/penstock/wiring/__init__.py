"""Composition root: settings in, a running platform out. The only room that knows every other."""

from penstock.operations.installation import Bootstrap
from penstock.wiring.bootstrap import bootstrap
from penstock.wiring.dev import run_dev
from penstock.wiring.doctor import doctor
from penstock.wiring.places import new_key
from penstock.wiring.serving import run_server
from penstock.wiring.upkeep import backup, migrate, restore, rotate_keys, verify_audit, verify_export

__all__ = [
    "Bootstrap",
    "backup",
    "bootstrap",
    "doctor",
    "migrate",
    "new_key",
    "restore",
    "rotate_keys",
    "run_dev",
    "run_server",
    "verify_audit",
    "verify_export",
]
