"""The membership game within an assessment: records, jobs, plan, conclusion."""

from redoubt.assess.membership.conclude import conclude_plan
from redoubt.assess.membership.plan import MembershipPlan, plan_membership

__all__ = ["MembershipPlan", "conclude_plan", "plan_membership"]
