"""How each stream sounded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Applies it."""
    op.add_column("streams", sa.Column("quality", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Takes it back."""
    op.drop_column("streams", "quality")
