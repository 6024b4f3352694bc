"""The poisoning game within an assessment: targets, jobs, plan, conclusion."""

from redoubt.assess.poisoning.conclude import conclude_poison
from redoubt.assess.poisoning.plan import PoisoningPlan, plan_poisoning

__all__ = ["PoisoningPlan", "conclude_poison", "plan_poisoning"]
