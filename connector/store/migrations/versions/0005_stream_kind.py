"""What kind of stream it was, with whom, and for which queue."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ADDED = ("dialect", "mode", "peer", "queue")


def upgrade() -> None:
    """Applies it."""
    for name in ADDED:
        op.add_column("streams", sa.Column(name, sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    """Takes it back."""
    for name in reversed(ADDED):
        op.drop_column("streams", name)
