"""The goals that each version was planned with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "planned_goals",
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("goals_hash", sa.String(64), nullable=False),
        sa.Column("goals", sa.Text()),
    )
    op.create_index("ix_planned_goals_goals_hash", "planned_goals", ["goals_hash"])


def downgrade() -> None:
    op.drop_table("planned_goals")
