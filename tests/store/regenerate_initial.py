"""Writes migrations/versions/0001_pre_initial.py anew from `tables`. Only until the first release: then it is frozen."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from alembic.autogenerate import render_python_code
from alembic.operations.ops import CreateIndexOp, CreateTableOp, UpgradeOps

from penstock.store.migrate import MIGRATIONS
from penstock.store.tables import ID_BLOCK, metadata

HEAD = '''"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, BIG, autoincrement=False, nullable=nullable)


def text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def upgrade() -> None:  # noqa: PLR0915 - a list
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("CREATE SEQUENCE id_blocks AS BIGINT INCREMENT BY {block} START WITH 1")
'''


def main() -> Path:
    text = HEAD.format(block=ID_BLOCK)
    for table in sorted(metadata.sorted_tables, key=lambda table: table.name):
        text += _code(CreateTableOp.from_table(table))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            code = _code(CreateIndexOp.from_index(index))
            where = index.dialect_options
            if where["postgresql"]["where"] is not None and where["sqlite"]["where"] is None:
                code = "    if postgresql:\n    " + code.replace("\n", "\n    ").rstrip(" ")
            text += code
    text += "    op.execute(\"INSERT INTO meta (key, value) VALUES ('needs', '0001')\")\n"
    path = MIGRATIONS / "versions" / "0001_pre_initial.py"
    path.write_text(text)
    subprocess.run(["ruff", "format", "--quiet", path], check=True)
    return path


def _code(op: CreateTableOp | CreateIndexOp) -> str:
    made = render_python_code(UpgradeOps(ops=[op]))
    lines = [f"    {line.strip()}" for line in made.splitlines() if not line.lstrip().startswith("#")]
    code = "\n".join(lines) + "\n"
    big = r"sa\.BigInteger\(\)\.with_variant\(sa\.Integer\(\), 'sqlite'\)"
    small = big.replace("Big", "Small")
    code = re.sub(rf"sa\.Column\(('\w+'), {big}, autoincrement=False, nullable=False\)", r"big(\1)", code)
    code = re.sub(rf"sa\.Column\(('\w+'), {big}, autoincrement=False, nullable=True\)", r"big(\1, nullable=True)", code)
    code = re.sub(r"sa\.Column\(('\w+'), sa\.Text\(\), nullable=False\)", r"text(\1)", code)
    code = re.sub(r"sa\.Column\(('\w+'), sa\.Text\(\), nullable=True\)", r"text(\1, nullable=True)", code)
    code = re.sub(small, "SMALL", re.sub(big, "BIG", code))
    return code.replace(", unique=False", "")


if __name__ == "__main__":
    print(main())
