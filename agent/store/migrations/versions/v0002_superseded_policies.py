"""Versions that another followed are superseded; what waited in vain has lapsed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_POLICIES = sa.table("policies", sa.column("version", sa.Integer), sa.column("status", sa.String))
_VERSION, _STATUS = _POLICIES.c.version, _POLICIES.c.status


def upgrade() -> None:
    op.create_index("ix_policies_status", "policies", ["status"])
    op.execute(sa.update(_POLICIES).where(_STATUS == "superseded").values(status="lapsed"))
    in_force = _STATUS.in_(("enforced", "not_enforced"))
    newest = op.get_bind().execute(sa.select(sa.func.max(_VERSION)).where(in_force)).scalar()
    if newest is not None:
        op.execute(sa.update(_POLICIES).where(in_force, newest > _VERSION).values(status="superseded"))


def downgrade() -> None:
    op.execute(sa.update(_POLICIES).where(_STATUS == "superseded").values(status="enforced"))
    op.execute(sa.update(_POLICIES).where(_STATUS == "lapsed").values(status="superseded"))
    op.drop_index("ix_policies_status", "policies")
