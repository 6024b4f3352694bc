"""The backdoor game within an assessment."""

from redoubt.assess.backdoor.conclude import conclude_backdoor_plan
from redoubt.assess.backdoor.plan import plan_backdoor

__all__ = ["conclude_backdoor_plan", "plan_backdoor"]
