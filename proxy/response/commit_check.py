"""Whether what a statement did may stay: the checks that decide about COMMIT.

In: a plan, the preferences and the statement's answer. Out: the `ApiError` for what is
wrong with it, if anything. The pool asks before it commits, the pipeline again to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pool.model import Row, keep_always
from proxy.errors import ApiError, api_error
from proxy.plan.model import DatabasePlan, FunctionCall, TableWrite, UpdatePlan
from proxy.request.preferences import Preferences
from proxy.response.result import Matching, page_total, read_matching


def is_explained(plan: DatabasePlan) -> bool:
    """Whether the answer is PostgreSQL's execution plan, which has no rows to check."""
    return plan.answering.media_type.kind == "plan"


def commit_check(
    plan: DatabasePlan, preferences: Preferences
) -> Callable[[Sequence[Row]], bool]:
    """The `keep` of the plan's transaction; `keep_always` when no answer could fail it."""
    if is_explained(plan):
        return keep_always
    fits_any = all(_count_violation(plan, preferences, rows) is None for rows in (0, 1, 2))
    if fits_any and preferences.max_affected is None and not _is_by_key(plan):
        return keep_always
    return lambda rows: violation(plan, preferences, rows) is None


def violation(
    plan: DatabasePlan, preferences: Preferences, rows: Sequence[Row]
) -> ApiError | None:
    """What is wrong with the answer `rows`, if anything; then nothing may be committed."""
    if _is_by_key(plan):
        mismatch = matching_violation(read_matching(rows), strict=preferences.is_strict)
        if mismatch is not None:
            return mismatch
    return _count_violation(plan, preferences, page_total(rows))


def _is_by_key(plan: DatabasePlan) -> bool:
    return (
        isinstance(plan, TableWrite)
        and isinstance(plan.mutation, UpdatePlan)
        and bool(plan.mutation.keys)
    )


def matching_violation(matching: Matching, *, strict: bool) -> ApiError | None:
    """What is wrong with how a by-key update met its rows (EDGE114 to EDGE117)."""
    if matching.keyless:
        return api_error("EDGE114", details=f"In {matching.keyless} of {matching.asked} rows")
    if matching.keys < matching.asked:
        details = f"The payload has {matching.asked} rows, but {matching.keys} different keys"
        return api_error("EDGE115", details=details)
    if matching.met < matching.updated:
        details = f"{matching.met} keys match {matching.updated} rows"
        return api_error("EDGE116", details=details)
    if strict and matching.met < matching.asked:
        details = f"{matching.met} of {matching.asked} rows match"
        return api_error("EDGE117", details=details)
    return None


def _count_violation(
    plan: DatabasePlan, preferences: Preferences, affected: int
) -> ApiError | None:
    if isinstance(plan, TableWrite) and plan.kind == "upsert":
        return None if affected == 1 else api_error("PGRST115")
    if plan.answering.media_type.kind == "object" and affected != 1:
        return api_error("PGRST116", details=f"The result contains {affected} rows")
    limit = preferences.max_affected
    bounded = isinstance(plan, FunctionCall) or (
        isinstance(plan, TableWrite) and plan.kind in ("update", "delete")
    )
    if bounded and limit is not None and preferences.is_strict and affected > limit:
        return api_error("PGRST124", details=f"The query affects {affected} rows")
    return None
