"""edgerest: the PostgreSQL side: values, errors, and the pool that turns one into another."""

from pool.budget import Budget, share_of
from pool.errors import (
    ConnectionFailed,
    ConnectionLost,
    DatabaseError,
    PoolError,
    PoolOverloaded,
    PoolTimeout,
)
from pool.model import Outcome, Statement, Transaction
from pool.pool import Pool
from pool.stats import PoolStats

__all__ = [
    "Budget",
    "ConnectionFailed",
    "ConnectionLost",
    "DatabaseError",
    "Outcome",
    "Pool",
    "PoolError",
    "PoolOverloaded",
    "PoolStats",
    "PoolTimeout",
    "Statement",
    "Transaction",
    "share_of",
]
