"""`make docs`: writes docs/reference/ from the code. `test_reference.py` fails when what is committed is another."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"


def pages() -> dict[str, str]:
    """File -> text."""
    from docs.reference import commands, definition, doors, events, policy, settings

    made = {
        "settings": settings.made(),
        "commands": commands.made(),
        **doors.made(),
        "errors": doors.made_errors(),
        "policy": policy.made(),
        "events": events.made(),
        "definition-format": definition.made(),
    }
    return {f"{name}.md": text for name, text in made.items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = pages()
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text)
        print(FOLDER.relative_to(ROOT) / name)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))  # as pytest has it
    main()
