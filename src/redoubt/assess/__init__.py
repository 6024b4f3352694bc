"""Policy x system to Evidence: plan, execute, resume, diagnose, conclude."""

from redoubt.assess.execute import Progress
from redoubt.assess.run import assess
from redoubt.assess.suite import STANDARD

__all__ = ["STANDARD", "Progress", "assess"]
